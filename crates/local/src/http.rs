//! The few lines of HTTP that asking a local engine takes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::LocalError;

/// Sends `sql` to the engine at `port` and returns what it answers, an exception as an error.
pub(crate) fn query(port: u16, sql: &str, wait: Duration) -> Result<String, LocalError> {
    let answer = post(port, sql, wait).map_err(|error| LocalError::Query(error.to_string()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        Ok(body.into())
    } else {
        Err(LocalError::Query(format!("{status}: {body}")))
    }
}

fn post(port: u16, body: &str, wait: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), wait)?;
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(wait))?;
    // HTTP/1.0: the answer is not chunked and ends with the connection. A late exception goes into the status
    // only if the whole answer is buffered first.
    let head = format!("POST /?wait_end_of_query=1 HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
