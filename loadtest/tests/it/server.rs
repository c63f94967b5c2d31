//! A server on port 0, on a thread of its own, whose answers the test decides.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::RwLock;

/// What to do with a request.
pub enum Answer {
    /// Send these bytes, whole.
    Bytes(Vec<u8>),
    /// Send these bytes one by one.
    Slowly(Vec<u8>),
    /// Close without a word.
    Close,
    /// Never answer.
    Silence,
    /// Hold this answer and every other one for so long, then send the bytes.
    Stall(Duration, Vec<u8>),
}

pub struct Server {
    pub address: SocketAddr,
    pub requests: Arc<Mutex<Vec<String>>>,
    pub connections: Arc<AtomicUsize>,
}

pub fn pixel() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\nContent-Length: 4\r\n\r\nGIF8".to_vec()
}

/// Answers request number `n` (from 0, over all connections) with `answer(n, request)`.
pub fn start(answer: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> Server {
    let (requests, connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
    let (seen, opened) = (requests.clone(), connections.clone());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let (answer, gate) = (Arc::new(answer), Arc::new(RwLock::new(())));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                opened.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connection(stream, answer.clone(), seen.clone(), gate.clone()));
            }
        });
    });
    Server { address: told.recv().unwrap(), requests, connections }
}

async fn connection(
    mut stream: TcpStream,
    answer: Arc<impl Fn(usize, &str) -> Answer>,
    seen: Arc<Mutex<Vec<String>>>,
    gate: Arc<RwLock<()>>,
) {
    let mut bytes = Vec::new();
    loop {
        let request = loop {
            if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8(bytes.drain(..at + 4).collect()).unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                let length: usize = length.map_or(0, |length| length.parse().unwrap());
                while bytes.len() < length {
                    stream.read_buf(&mut bytes).await.unwrap();
                }
                break head + std::str::from_utf8(&bytes.drain(..length).collect::<Vec<_>>()).unwrap();
            }
            match stream.read_buf(&mut bytes).await {
                Ok(read) if read > 0 => {}
                _ => return,
            }
        };
        let close = request.contains("\r\nConnection: close\r\n");
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        let sent = match answer(number, &request) {
            Answer::Bytes(bytes) => {
                let _open = gate.read().await;
                stream.write_all(&bytes).await
            }
            Answer::Slowly(bytes) => {
                for byte in bytes {
                    stream.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            Answer::Close => return,
            Answer::Silence => std::future::pending().await,
            Answer::Stall(time, bytes) => {
                let _shut = gate.write().await;
                let end = Instant::now() + time;
                tokio::time::sleep_until(end.into()).await;
                stream.write_all(&bytes).await
            }
        };
        if sent.is_err() || close {
            return;
        }
    }
}
