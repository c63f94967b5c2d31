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
