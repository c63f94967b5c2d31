//! Out of memory: the server's own limit, provoked.

use store::{Config, InsertError, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::engine::{self, block, value};
use crate::insert::{active, copies};

/// Passes inserts on to the server with a limit on their memory, and all else as it is. The engine has no users to
/// give one to.
async fn stingy(listener: TcpListener, server: String) {
    while let Ok((client, _)) = listener.accept().await {
        let (mut answers, mut requests) = TcpStream::connect(&server).await.unwrap().into_split();
        let (mut from, mut to) = client.into_split();
        tokio::spawn(async move { copy(&mut answers, &mut to).await });
        tokio::spawn(async move {
            let mut bytes = vec![0; 65_536];
            while let Ok(length @ 1..) = from.read(&mut bytes).await {
                let mut part = bytes[..length].to_vec();
                if part.starts_with(b"POST /?") && part.windows(12).any(|word| word == b"INSERT+INTO+") {
                    part.splice(7..7, *b"max_memory_usage=3000000&");
                }
                requests.write_all(&part).await.unwrap();
            }
        });
    }
}

/// A block that does not fit is tried again, and lands once when it does.
#[tokio::test]
async fn a_block_that_finds_no_memory_is_tried_again() {
    let store = engine::migrated("memory").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = engine::empty("memory");
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = config.url.trim_start_matches("http://").to_owned();
    let stingy = tokio::spawn(stingy(listener, server));
    let poor = Store::new(Config { url, ..config }).unwrap();
    let rows = block((0..20_000).map(active));
    match poor.insert(0, "memory", &rows).await {
        Err(InsertError::Retry(cause)) => assert_eq!(cause.code, Some(241), "{cause}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(value(&store, "SELECT count() FROM events").await, "0");
    for _ in 0..2 {
        store.insert(0, "memory", &rows).await.unwrap();
        assert_eq!(copies(&store).await[..4], ["20000"; 4]);
    }
    stingy.abort();
}
