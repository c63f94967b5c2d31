//! One question over plain HTTP/1.1 on a connection of its own: for ClickHouse, for metrics and for single visits.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::response::{Reader, Reply};

/// The largest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Sends `request`, which asks for the connection to be closed, and returns the status and the body, a text.
pub async fn ask(address: SocketAddr, request: &[u8]) -> io::Result<(u16, String)> {
    let (status, body) = ask_bytes(address, request).await?;
    Ok((status, String::from_utf8(body).map_err(|_| bad("the answer is not text"))?))
}

/// The same, for any body.
pub async fn ask_bytes(address: SocketAddr, request: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let Answer { status, body, .. } = ask_whole(address, request).await?;
    Ok((status, body))
}

/// An answer with its head.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The status line and all headers, in small letters.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// The same, with the head.
pub async fn ask_whole(address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    if answer.len() as u64 >= ANSWER_BYTES_MAX {
        return Err(bad(&format!("the answer is larger than {ANSWER_BYTES_MAX} bytes")));
    }
    split(&answer)
}

/// Asks over a connection that stays open, and waits for the whole answer.
pub fn ask_over(connection: &mut std::net::TcpStream, request: &[u8]) -> io::Result<Reply> {
    connection.write_all(request)?;
    let mut answer = Reader::default();
    let mut piece = [0; 4_096];
    loop {
        let read = connection.read(&mut piece)?;
        if read == 0 {
            return Err(bad("the connection was closed"));
        }
        if let Some(reply) = answer.feed(&piece[..read]).map_err(|malformed| bad(malformed.0))? {
            return Ok(reply);
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Takes a whole answer, up to the connection's end, apart: head and body, which ClickHouse sends in chunks.
fn split(answer: &[u8]) -> io::Result<Answer> {
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(|| bad("no response head"))?;
    let head = std::str::from_utf8(&answer[..at])
        .map_err(|_| bad("response head is not text"))?
        .to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| bad("no status"))?;
    let mut rest = &answer[at + 4..];
    let answer = |body: Vec<u8>| Ok(Answer { status, head: head.clone(), body });
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if header("transfer-encoding:") != Some("chunked") {
        if let Some(length) = header("content-length:").and_then(|length| length.parse::<usize>().ok()) {
            rest = rest.get(..length).ok_or_else(|| bad("the answer was cut"))?;
        }
        return answer(rest.to_vec());
    }
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n").ok_or_else(|| bad("the answer was cut"))?;
        let size = std::str::from_utf8(&rest[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let size = size.ok_or_else(|| bad("a chunk without a size"))?;
        if size == 0 {
            return answer(body);
        }
        let chunk = rest.get(end + 2..end + 2 + size).ok_or_else(|| bad("the answer was cut"))?;
        body.extend_from_slice(chunk);
        rest = rest.get(end + 2 + size + 2..).ok_or_else(|| bad("the answer was cut"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(answer: &[u8]) -> (u16, Vec<u8>) {
        let Answer { status, body, .. } = split(answer).unwrap();
        (status, body)
    }

    #[test]
    fn takes_answers_apart() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n1\t2\r\nb\r\n\n4\t5\n6\t7\n8\t\r\n0\r\n\r\n";
        assert_eq!(taken(chunked), (200, b"1\t2\n4\t5\n6\t7\n8\t".to_vec()));
        let plain = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(taken(plain), (404, b"no".to_vec()));
        let to_the_end = b"HTTP/1.0 200 OK\r\n\r\nall of it";
        assert_eq!(taken(to_the_end), (200, b"all of it".to_vec()));
    }

    #[test]
    fn a_cut_answer_is_no_answer() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n1\t2\r\n0\r\n\r\n";
        let head = chunked.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        // Whatever follows the last chunk's size and line end says nothing.
        for cut in 0..chunked.len() - 2 {
            assert!(split(&chunked[..cut]).is_err(), "cut at {cut} of {head}");
        }
        assert!(split(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno").is_err());
    }
}
