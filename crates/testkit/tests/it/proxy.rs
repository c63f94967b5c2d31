//! Every fault, as both sides see it.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use testkit::proxy::{Fault, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

const REQUEST: &[u8] = b"question";
const REPLY: &[u8] = b"an answer";

/// A server that answers each whole request, and counts them.
struct Server {
    whole: Arc<AtomicUsize>,
    /// Told when a connection ended within a request.
    broken: Arc<Notify>,
    proxy: Proxy,
}

impl Server {
    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
        let (whole, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counted, told) = (Arc::clone(&whole), Arc::clone(&broken));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (counted, told) = (Arc::clone(&counted), Arc::clone(&told));
                tokio::spawn(async move {
                    let mut request = [0; REQUEST.len()];
                    while stream.read_exact(&mut request).await.is_ok() {
                        assert_eq!(request, REQUEST);
                        counted.fetch_add(1, Ordering::SeqCst);
                        if stream.write_all(REPLY).await.is_err() {
                            break;
                        }
                    }
                    told.notify_one();
                });
            }
        });
        Server { whole, broken, proxy }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address()).await.unwrap()
    }

    fn whole(&self) -> usize {
        self.whole.load(Ordering::SeqCst)
    }
}

/// What came back of a reply, and how it ended when it did not come whole.
async fn ask(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    stream.write_all(REQUEST).await.unwrap();
    let mut reply = Vec::new();
    while reply.len() < REPLY.len() {
        match stream.read_buf(&mut reply).await {
            Ok(0) => return (reply, Some(ErrorKind::UnexpectedEof)),
            Ok(_) => {}
            Err(error) => return (reply, Some(error.kind())),
        }
    }
    (reply, None)
}

#[tokio::test]
async fn all_passes_until_something_is_ordered_and_once_it_is_healed() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        assert_eq!(ask(&mut stream).await, (REPLY.to_vec(), None));
    }
    server.proxy.next(Fault::Reset, 5);
    server.proxy.sometimes(&[Fault::DropReply], 1.0, 1);
    server.proxy.heal();
    assert_eq!(ask(&mut stream).await, (REPLY.to_vec(), None));
    assert_eq!((server.whole(), server.proxy.done().len()), (4, 0));
}

#[tokio::test]
async fn a_reset_leaves_the_server_with_half_a_request() {
    let server = Server::start().await;
    server.proxy.next(Fault::Reset, 1);
    assert_eq!(ask(&mut server.connect().await).await, (Vec::new(), Some(ErrorKind::ConnectionReset)));
    server.broken.notified().await;
    assert_eq!(server.whole(), 0);
    assert_eq!(ask(&mut server.connect().await).await.1, None, "one was ordered");
}

#[tokio::test]
async fn a_reply_that_is_dropped_or_cut_follows_a_whole_request() {
    for (fault, seen) in [
        (Fault::DropReply, (Vec::new(), Some(ErrorKind::ConnectionReset))),
        (Fault::CutReply, (REPLY[..REPLY.len() / 2].to_vec(), Some(ErrorKind::UnexpectedEof))),
    ] {
        let server = Server::start().await;
        let mut stream = server.connect().await;
        assert_eq!(ask(&mut stream).await.1, None);
        // Of a connection that is in use already.
        server.proxy.next(fault, 1);
        assert_eq!(ask(&mut stream).await, seen, "{fault:?}");
        assert_eq!(server.whole(), 2, "{fault:?}");
        assert_eq!(server.proxy.done().get(&fault), Some(&1));
    }
}

#[tokio::test]
async fn a_blackhole_says_nothing_and_passes_nothing_on() {
    let server = Server::start().await;
    server.proxy.next(Fault::Blackhole, 1);
    let mut lost = server.connect().await;
    lost.write_all(REQUEST).await.unwrap();
    let silent = async { lost.read(&mut [0; 1]).await };
    // Others go on meanwhile, so that nothing here waits for time to pass.
    let others = async {
        while server.proxy.done().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut stream = server.connect().await;
        for _ in 0..10 {
            assert_eq!(ask(&mut stream).await.1, None);
        }
    };
    tokio::select! {
        biased;
        said = silent => panic!("{said:?}"),
        () = others => {}
    }
    assert_eq!(server.whole(), 10);
}

#[tokio::test]
async fn a_delayed_request_arrives() {
    let wait = Duration::from_millis(1);
    let server = Server::start().await;
    server.proxy.next(Fault::Delay(wait), 1);
    assert_eq!(ask(&mut server.connect().await).await, (REPLY.to_vec(), None));
    assert_eq!(server.proxy.done().get(&Fault::Delay(wait)), Some(&1));
}

#[tokio::test]
async fn chance_repeats_itself_from_its_seed() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let server = Server::start().await;
        server.proxy.sometimes(&[Fault::DropReply, Fault::Reset], 0.5, seed);
        let mut outcomes = Vec::new();
        for _ in 0..40 {
            outcomes.push((ask(&mut server.connect().await).await.1.is_none(), server.whole()));
        }
        runs.push(outcomes);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn a_server_that_is_away_looks_away() {
    let proxy = Proxy::start(([127, 0, 0, 1], 1).into()).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(stream.read(&mut [0; 1]).await.is_err());
}
