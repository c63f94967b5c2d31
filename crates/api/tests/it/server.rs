//! A server on a port of its own, over backings of a test's own, and a client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Access, Advice, Backing, Config, Problem, Refused, Send, new_key, serve};
use arc_swap::ArcSwap;
use link::{Keys, Site};
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

const WAIT: Duration = Duration::from_secs(60);

/// The workspace of [`Server::key`].
pub const WORKSPACE: u32 = 7;

pub struct Server {
    pub address: SocketAddr,
    pub key: String,
    pub keys: Arc<ArcSwap<Keys>>,
    /// What was recorded, with its workspace.
    pub recorded: Arc<Mutex<Vec<(u32, Send)>>>,
    _ends: DropGuard,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub fn start() -> Server {
        Server::with(Config::default(), |_| {})
    }

    pub fn with(config: Config, change: impl FnOnce(&mut Backing)) -> Server {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let key = new_key();
        let access = Access::from_toml(&format!("{WORKSPACE} = [{:?}]", key.digest)).unwrap();
        let keys = Arc::new(ArcSwap::from_pointee(Keys::from_toml(&Keys::generate()).unwrap()));
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let to = recorded.clone();
        let mut backing = Backing {
            access: Arc::new(ArcSwap::from_pointee(access)),
            keys: keys.clone(),
            site: Site::new("https://m.example.com").unwrap(),
            record: Box::new(move |workspace, sends| Ok(record(&to, workspace, sends))),
            ask: Box::new(|_, recipients, _| {
                let refused = Refused { reason: "unknown_recipient", message: "no event is known" };
                let one = Advice { windows: Vec::new(), plan: None, refused: Some(refused) };
                Box::pin(async move { Ok(vec![one; recipients.len()]) })
            }),
        };
        change(&mut backing);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        runtime.spawn(serve(config, listener, backing, stop.clone()));
        Server { address, key: key.key, keys, recorded, _ends: stop.drop_guard(), _runtime: runtime }
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_text(path, &body.to_string())
    }

    pub fn post_text(&self, path: &str, body: &str) -> Reply {
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{END}{body}",
            self.key,
            body.len()
        ))
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {}\r\n{END}", self.key))
    }

    /// A whole request.
    pub fn send(&self, request: &str) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_ascii_lowercase(), body: serde_json::from_str(body).unwrap() }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream
    }
}

/// Ends a head.
pub const END: &str = "Host: api\r\nConnection: close\r\n\r\n";

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: Value,
}

impl Reply {
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or("")
    }
}

/// As the program does: a country of other than two letters is a problem.
fn record(to: &Mutex<Vec<(u32, Send)>>, workspace: u32, sends: &[Send]) -> Vec<Option<Problem>> {
    let mut recorded = to.lock().unwrap();
    let one = |send: &Send| match &send.country {
        Some(country) if country.len() != 2 => {
            Some(Problem { field: "country", message: "expected two letters".to_owned() })
        }
        _ => {
            recorded.push((workspace, send.clone()));
            None
        }
    };
    sends.iter().map(one).collect()
}
