//! The requests of Kafka's protocol that a cluster takes: who is alive and in sync, and make a topic.
//!
//! Both in versions from before the compact encoding, which Kafka 4 still serves.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::LocalError;

const METADATA: (i16, i16) = (3, 4);
const CREATE_TOPICS: (i16, i16) = (19, 2);
/// Answers to these two questions are some hundred bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The brokers that the one at `port` sees alive.
pub(super) fn brokers(port: u16, wait: Duration) -> io::Result<Vec<usize>> {
    let mut body = Vec::new();
    body.extend(0_i32.to_be_bytes()); // of no topic
    body.push(0); // and do not make any
    let answer = ask(port, METADATA, &body, wait)?;
    read_brokers(&mut Reader(&answer))
}

fn read_brokers(reader: &mut Reader<'_>) -> io::Result<Vec<usize>> {
    reader.i32()?; // throttle time
    let count = reader.i32()?;
    let mut alive = Vec::new();
    for _ in 0..count {
        alive.push(usize::try_from(reader.i32()?).map_err(io::Error::other)?);
        reader.string()?; // host
        reader.i32()?; // port
        reader.string()?; // rack
    }
    Ok(alive)
}

/// The fewest copies in sync of any partition of `topics`, as the broker at `port` knows it.
pub(super) fn copies_in_sync(port: u16, topics: &[&str], wait: Duration) -> io::Result<usize> {
    let mut body = Vec::new();
    body.extend(i32::try_from(topics.len()).map_err(io::Error::other)?.to_be_bytes());
    for topic in topics {
        body.extend(i16::try_from(topic.len()).map_err(io::Error::other)?.to_be_bytes());
        body.extend(topic.as_bytes());
    }
    body.push(0); // and do not make any
    read_copies(&ask(port, METADATA, &body, wait)?)
}

fn read_copies(answer: &[u8]) -> io::Result<usize> {
    let mut reader = Reader(answer);
    read_brokers(&mut reader)?;
    reader.string()?; // cluster
    reader.i32()?; // controller
    let mut fewest = usize::MAX;
    for _ in 0..reader.i32()? {
        let code = reader.i16()?;
        let topic = reader.string()?.unwrap_or_default();
        reader.take::<1>()?; // internal
        if code != 0 {
            return Err(io::Error::other(format!("topic {topic}: kafka error {code}")));
        }
        for _ in 0..reader.i32()? {
            reader.i16()?; // error
            reader.i32()?; // partition
            let led = reader.i32()? >= 0;
            reader.list()?; // copies
            let in_sync = reader.list()?.len();
            fewest = fewest.min(if led { in_sync } else { 0 });
        }
    }
    if fewest == usize::MAX { Err(io::Error::other("no partition")) } else { Ok(fewest) }
}

/// Makes a topic through the broker at `port`.
pub(super) fn create_topic(
    port: u16,
    name: &str,
    partitions: u32,
    replicas: usize,
    wait: Duration,
) -> Result<(), LocalError> {
    let failed = |reason: String| LocalError::Options(format!("failed to create topic {name}: {reason}"));
    let invalid = |_| failed("a number or the name is too large".into());
    let mut body = Vec::new();
    body.extend(1_i32.to_be_bytes());
    body.extend(i16::try_from(name.len()).map_err(invalid)?.to_be_bytes());
    body.extend(name.as_bytes());
    body.extend(i32::try_from(partitions).map_err(invalid)?.to_be_bytes());
    body.extend(i16::try_from(replicas).map_err(invalid)?.to_be_bytes());
    body.extend(0_i32.to_be_bytes()); // no assignments
    body.extend(0_i32.to_be_bytes()); // no settings
    body.extend(i32::try_from(wait.as_millis()).map_err(invalid)?.to_be_bytes());
    body.push(0); // not only to validate
    let ask = || {
        let answer = ask(port, CREATE_TOPICS, &body, wait * 2)?;
        let mut reader = Reader(&answer);
        reader.i32()?; // throttle time
        reader.i32()?; // one topic
        reader.string()?; // its name
        io::Result::Ok((reader.i16()?, reader.string()?))
    };
    match ask().map_err(|error| failed(error.to_string()))? {
        (0, _) => Ok(()),
        (code, message) => Err(failed(format!("kafka error {code}: {}", message.unwrap_or_default()))),
    }
}

/// Sends one request and returns what follows the correlation id in the answer.
fn ask(port: u16, (key, version): (i16, i16), body: &[u8], wait: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), wait)?;
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(wait))?;
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(1_i32.to_be_bytes()); // correlation id
    request.extend((-1_i16).to_be_bytes()); // no client id
    request.extend(body);
    let length = i32::try_from(request.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&request)?;

    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?;
    if !(4..=ANSWER_BYTES_MAX).contains(&length) {
        return Err(io::Error::other(format!("an answer of {length} bytes")));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok(answer.split_off(4))
}

/// Takes values off the front of an answer.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(*first)
    }

    fn i16(&mut self) -> io::Result<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> io::Result<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn list(&mut self) -> io::Result<Vec<i32>> {
        let count = self.i32()?;
        (0..count).map(|_| self.i32()).collect()
    }

    /// `None` when the length is -1.
    fn string(&mut self) -> io::Result<Option<String>> {
        let Ok(length) = usize::try_from(self.i16()?) else { return Ok(None) };
        let (text, rest) = self.0.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to METADATA version 4 of one broker, with one topic whose partitions have these leaders and copies.
    fn metadata(partitions: &[(i32, &[i32])]) -> Vec<u8> {
        let mut answer = Vec::new();
        let numbers = |answer: &mut Vec<u8>, numbers: &[i32]| {
            numbers.iter().for_each(|number| answer.extend(number.to_be_bytes()));
        };
        numbers(&mut answer, &[0, 1, 7]);
        answer.extend([0, 1, b'h']);
        numbers(&mut answer, &[9092]);
        answer.extend([255, 255, 0, 1, b'c']);
        numbers(&mut answer, &[7, 1]);
        answer.extend([0, 0, 0, 1, b't', 0]);
        numbers(&mut answer, &[i32::try_from(partitions.len()).unwrap()]);
        for (index, (leader, in_sync)) in (0..).zip(partitions) {
            answer.extend([0, 0]);
            numbers(&mut answer, &[index, *leader, 3, 0, 1, 2, i32::try_from(in_sync.len()).unwrap()]);
            numbers(&mut answer, in_sync);
        }
        answer
    }

    #[test]
    fn the_partition_with_the_fewest_copies_counts() {
        let copies = |partitions: &[(i32, &[i32])]| read_copies(&metadata(partitions)).ok();
        assert_eq!(copies(&[(0, &[0, 1, 2]), (1, &[1, 2])]), Some(2));
        assert_eq!(copies(&[(0, &[0, 1, 2]), (-1, &[1, 2])]), Some(0), "nobody leads");
        assert_eq!(copies(&[]), None);
        let whole = metadata(&[(0, &[0, 1])]);
        for end in 0..whole.len() {
            assert!(read_copies(&whole[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn torn_answer_is_an_error() {
        let mut whole = Vec::new();
        whole.extend(7_i32.to_be_bytes());
        whole.extend(2_i16.to_be_bytes());
        whole.extend(b"ab");
        whole.extend((-1_i16).to_be_bytes());
        let read = |bytes: &[u8]| {
            let mut reader = Reader(bytes);
            io::Result::Ok((reader.i32()?, reader.string()?, reader.string()?))
        };
        assert_eq!(read(&whole).unwrap(), (7, Some("ab".into()), None));
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "cut at {end}");
        }
    }
}
