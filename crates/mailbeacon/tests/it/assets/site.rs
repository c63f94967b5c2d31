//! A mirror of all publishers on this machine.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::database;

/// Serves until the test ends.
pub struct Site {
    /// Base URL.
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    asked: Vec<String>,
    this_month: bool,
    broken: bool,
}

impl Site {
    pub fn start() -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let served = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &served);
            }
        });
        Site { url, state }
    }

    /// The paths with a text in them that were asked for.
    pub fn asked(&self, part: &str) -> Vec<String> {
        self.state.lock().unwrap().asked.iter().filter(|path| path.contains(part)).cloned().collect()
    }

    pub fn publish_this_months_places(&self) {
        self.state.lock().unwrap().this_month = true;
    }

    pub fn break_everything(&self) {
        self.state.lock().unwrap().broken = true;
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(&stream);
    let mut request = String::new();
    if reader.read_line(&mut request).is_err() {
        return;
    }
    let mut header = String::new();
    while reader.read_line(&mut header).is_ok_and(|count| count > 2) {
        header.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut state = state.lock().unwrap();
    state.asked.push(path.clone());
    let (status, body) = if state.broken { broken(&path) } else { published(&path, state.this_month) };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // A client that has seen enough is no concern of ours.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

fn published(path: &str, this_month: bool) -> (&'static str, Vec<u8>) {
    let month = |epoch: i64| jiff::Timestamp::from_second(epoch).unwrap().strftime("%Y-%m").to_string();
    // The same file for a whole day.
    let now = jiff::Timestamp::now().as_second() / 86_400 * 86_400;
    let body = match path.split('?').next().unwrap_or_default() {
        "/mask-api.icloud.com/egress-ip-ranges.csv" => {
            prefixes(9_000).replace('\n', ",GB,GB-EN,London,\n").into_bytes()
        }
        "/www.gstatic.com/ipranges/goog.json" => {
            br#"{"prefixes":[{"ipv4Prefix":"8.8.0.0/22"},{"ipv6Prefix":"2001:4860::/32"}]}"#.to_vec()
        }
        "/www.gstatic.com/ipranges/cloud.json" => {
            br#"{"prefixes":[{"ipv4Prefix":"8.8.1.0/24","service":"Google Cloud"}]}"#.to_vec()
        }
        "/endpoints.office.com/endpoints/worldwide" => {
            br#"[{"id":10,"urls":["*.mail.protection.outlook.com"],"ips":["40.92.0.0/15","40.107.0.0/16",
                "52.100.0.0/14","104.47.0.0/17","2a01:111:f400::/48"]}]"#
                .to_vec()
        }
        "/raw.githubusercontent.com/X4BNet/lists_vpn/main/output/datacenter/ipv4.txt" => {
            prefixes(50_000).into()
        }
        "/raw.githubusercontent.com/X4BNet/lists_vpn/main/output/vpn/ipv4.txt" => prefixes(10_000).into(),
        "/raw.githubusercontent.com/X4BNet/lists_vpn/main/output/datacenter/ipv6.txt"
        | "/raw.githubusercontent.com/X4BNet/lists_vpn/main/output/vpn/ipv6.txt" => "2001:db8::/32\n".into(),
        path if path.starts_with("/download.db-ip.com/free/dbip-city-lite-") => {
            // An old build under last month's name, then one of this month.
            let (epoch, wanted) =
                if this_month { (now, month(now)) } else { (now - 90 * 86_400, String::new()) };
            match (path.contains(&month(now)), this_month) {
                (true, false) => return ("404 Not Found", Vec::new()),
                _ => assert!(path.contains(&wanted), "{path}"),
            }
            packed(dbip("GeoIP2-City-Test.mmdb", "DBIP-City-Lite", epoch))
        }
        path if path.starts_with("/download.db-ip.com/free/dbip-asn-lite-") => {
            packed(dbip("GeoLite2-ASN-Test.mmdb", "DBIP-ASN-Lite (compat=GeoLite2-ASN)", now))
        }
        _ => return ("404 Not Found", Vec::new()),
    };
    ("200 OK", body)
}

/// Too little, something else, an error, a page, nothing, half a file.
fn broken(path: &str) -> (&'static str, Vec<u8>) {
    match path {
        path if path.contains("egress-ip") => {
            ("200 OK", b"172.224.226.0/27,GB\n10.0.0.0/24\n10.0.4.0/24\n".to_vec())
        }
        path if path.contains("ipranges") => ("200 OK", b"{\"ranges\": []}".to_vec()),
        path if path.contains("endpoints") => ("500 Internal Server Error", Vec::new()),
        path if path.contains("datacenter") => {
            ("200 OK", b"<html>Sign in to the guest network</html>".to_vec())
        }
        path if path.contains("dbip-asn") => {
            let whole = published(path, true).1;
            ("200 OK", whole[..whole.len() / 2].to_vec())
        }
        _ => ("404 Not Found", Vec::new()),
    }
}

/// Every other /32: nothing can be merged.
fn prefixes(count: u32) -> String {
    (0..count).map(|n| format!("{}/32\n", std::net::Ipv4Addr::from_bits((100 << 24) + 2 * n))).collect()
}

fn packed(bytes: Vec<u8>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap()
}

/// A test database of MaxMind's under another name and of another day: its tree and records with a metadata of our own.
fn dbip(file: &str, database_type: &str, epoch: i64) -> Vec<u8> {
    const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
    let mut bytes = std::fs::read(database(file)).unwrap();
    let behind = find(&bytes, MARKER) + MARKER.len();
    let metadata = bytes.split_off(behind);
    let text = |text: &str| match u8::try_from(text.len()).unwrap() {
        short @ 0..29 => [&[0x40 | short], text.as_bytes()].concat(),
        long => [&[0x40 | 29, long - 29], text.as_bytes()].concat(),
    };
    // Numbers of these keys have one byte before them, with their size.
    let number = |key: &str| {
        let at = find(&metadata, &text(key)) + key.len() + 1;
        let size = usize::from(metadata[at] & 0x1f);
        metadata[at + 1..=at + size].iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte))
    };
    let u16 = |n: u32| [&[0xa2], &(n as u16).to_be_bytes()[..]].concat();
    let fields = [
        ("binary_format_major_version", u16(2)),
        ("binary_format_minor_version", u16(0)),
        ("build_epoch", [&[8, 2], &epoch.to_be_bytes()[..]].concat()),
        ("database_type", text(database_type)),
        ("description", vec![0xe0]),
        ("ip_version", u16(number("ip_version"))),
        ("languages", vec![0, 4]),
        ("node_count", [&[0xc4], &number("node_count").to_be_bytes()[..]].concat()),
        ("record_size", u16(number("record_size"))),
    ];
    bytes.push(0xe0 | fields.len() as u8);
    fields.iter().for_each(|(key, value)| bytes.extend([text(key), value.clone()].concat()));
    bytes
}

/// The last place, since the records may have the same.
fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).rposition(|window| window == part).unwrap()
}
