//! The few lines of HTTP that a test needs: a client for the edge and for ClickHouse.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// GET, with more header lines if need be (each with its `\r\n`).
pub fn get(url: &str, headers: &str) -> std::io::Result<Reply> {
    let (address, path) = split(url);
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    ask(&address, head.as_bytes())
}

/// Asks the ClickHouse at `url`; the answer is tab-separated text without its last line break.
pub fn query(url: &str, database: &str, sql: &str) -> std::io::Result<String> {
    let (address, _) = split(url);
    let length = sql.len();
    // HTTP/1.0: the answer ends with the connection.
    let text = format!(
        "POST /?database={database}&wait_end_of_query=1 HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{sql}"
    );
    let reply = ask(&address, text.as_bytes())?;
    match reply.status {
        200 => Ok(reply.text().trim_end().to_owned()),
        _ => Err(std::io::Error::other(reply.text())),
    }
}

fn split(url: &str) -> (String, String) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url}: expected http"));
    match rest.split_once('/') {
        Some((address, path)) => (address.to_owned(), format!("/{path}")),
        None => (rest.to_owned(), "/".to_owned()),
    }
}

fn ask(address: &str, request: &[u8]) -> std::io::Result<Reply> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let broken = || std::io::Error::other(format!("{} bytes and no answer", bytes.len()));
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
    let reply = Reply { status, head, body: bytes[end + 4..].to_vec() };
    // A connection that ends early would look like a shorter answer.
    match reply.header("content-length").parse::<usize>() {
        Ok(length) if reply.body.len() != length => Err(broken()),
        _ => Ok(reply),
    }
}
