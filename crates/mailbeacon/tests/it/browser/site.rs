//! The sender's own site: the newsletter, and what its links lead to.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub const SHOP: &str = "All books of the harbour";

/// A web server on this machine, for as long as the test runs.
pub struct Site {
    pub base_url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    letter: Mutex<String>,
    /// Paths, as they were asked for.
    asked: Mutex<Vec<String>>,
}

impl Site {
    pub fn start() -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let of_server = shared.clone();
        std::thread::spawn(move || {
            // A browser opens connections ahead of need: one that says nothing must not keep the others waiting.
            for stream in listener.incoming().flatten() {
                let shared = of_server.clone();
                std::thread::spawn(move || answer(&shared, stream));
            }
        });
        Site { base_url, shared }
    }

    /// Shows this letter, and returns its URL.
    pub fn serve_letter(&self, html: String) -> String {
        *self.shared.letter.lock().unwrap() = html;
        format!("{}/letter", self.base_url)
    }

    pub fn was_asked_for(&self, url: &str) -> bool {
        let path = url.strip_prefix(&self.base_url).unwrap();
        self.shared.asked.lock().unwrap().iter().any(|asked| asked == path)
    }
}

fn answer(shared: &Shared, stream: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    lines.find(String::is_empty)?;
    shared.asked.lock().unwrap().push(path.clone());
    let (kind, body) = match path.split('?').next()? {
        "/letter" => ("text/html; charset=utf-8", shared.letter.lock().unwrap().clone()),
        "/ledger/chapter-1.pdf" => ("application/pdf", "%PDF-1.4\n".to_owned()),
        "/shop" => ("text/html", format!("<!doctype html><title>Shop</title><h1>{SHOP}</h1>")),
        path if path.ends_with(".png") => ("image/gif", String::from_utf8_lossy(b"GIF89a").into_owned()),
        _ => ("text/html", "<!doctype html><title>Harbour Books</title>".to_owned()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    (&stream).write_all(format!("{head}{body}").as_bytes()).ok()
}
