//! Single files from the web.

use std::fs;
use std::path::Path;

use crate::LocalError;
use crate::error::file;
use crate::fetch::run;
use crate::tool::CURL;

/// How long a server may take to accept a connection.
const CONNECT_WAIT_SECONDS: &str = "15";
/// Below this many bytes a second...
const SLOW_BYTES: &str = "1000";
/// ...for so long, a transfer is given up.
const SLOW_SECONDS: &str = "60";

/// Fetches `url` into the file `name` in `dir`, which may take `bytes_max`. By curl, which knows the user's proxy and
/// certificates. A redirect may not lead away from HTTPS.
///
/// # Errors
/// When it cannot be had whole. What curl said of it stands in the error.
pub fn download(url: &str, dir: &Path, name: &str, bytes_max: u64) -> Result<(), LocalError> {
    let (target, bytes_max_text) = (dir.join(name), bytes_max.to_string());
    let target_text = target.to_string_lossy();
    let args = [
        "--disable",
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--proto",
        "=https,http",
        "--proto-redir",
        "=https",
        "--connect-timeout",
        CONNECT_WAIT_SECONDS,
        "--speed-limit",
        SLOW_BYTES,
        "--speed-time",
        SLOW_SECONDS,
        "--max-filesize",
        &bytes_max_text,
        "--output",
        &target_text,
        "--url",
        url,
    ];
    run(CURL, &args, dir, url)?;
    // A server that does not say how much there is comes past --max-filesize.
    let bytes = fs::metadata(&target).map_err(file("read", &target))?.len();
    match bytes {
        bytes if bytes > bytes_max => Err(LocalError::Fetch {
            what: url.to_owned(),
            reason: format!("it has {bytes} bytes, expected at most {bytes_max}"),
            tail: String::new(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// Serves one request with these bytes and returns its URL.
    fn serve(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/list.txt", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            // A client that has seen enough is no concern of ours.
            let _ = stream.write_all(answer);
        });
        url
    }

    #[test]
    fn a_file_is_had_whole_or_not_at_all() {
        const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n10.0.0.0/8";
        let dir = tempfile::tempdir().unwrap();
        download(&serve(WHOLE), dir.path(), "list", 10).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("list")).unwrap(), "10.0.0.0/8");
        for (answer, bytes_max, wanted) in [
            (WHOLE, 9, ""),
            // One that does not say how much there is.
            (&b"HTTP/1.0 200 OK\r\n\r\n10.0.0.0/8"[..], 9, ""),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n10.0.0.0/8", 20, "curl: (18)"),
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 20, "404"),
            (
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
                20,
                "curl: (1)",
            ),
            (b"SSH-2.0-OpenSSH_9.9\r\n", 20, "curl: (1)"),
        ] {
            let error = download(&serve(answer), dir.path(), "list", bytes_max).unwrap_err().to_string();
            assert!(error.contains("failed to fetch http://127.0.0.1:") && error.contains(wanted), "{error}");
        }
    }
}
