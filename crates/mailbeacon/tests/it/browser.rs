//! A newsletter in a real browser: Chromium opens it, follows a link and fetches a file.

mod site;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use event::Kind;
use link::{Keys, Link};

use self::site::Site;
use crate::program::{BOUND, run_with_input, until};
use crate::up::Up;

const NEWSLETTER: &str = include_str!("../../../link/tests/it/cases/newsletter.html");
/// The newsletter's own hosts: in the test all of them are one server on this machine.
const HOSTS: [&str; 4] = [
    "https://www.harbour-books.example",
    "https://img.harbour-books.example",
    "https://files.harbour-books.example",
    "https://maps.harbour-books.example",
];
/// What this browser says of itself when it has a window.
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 \
                     Safari/537.36";

/// Instruments the newsletter with the program, has Chromium read it, and looks for what came of it.
pub fn newsletter(up: &Up, dir: &Path) {
    let site = Site::start();
    let keys = Keys::from_toml(&std::fs::read_to_string(&up.keys).unwrap()).unwrap();
    let html = instrumented(up, dir, &site);
    let shop = tracked(&html, "shop");
    let chapter = tracked(&html, "chapter");
    let letter = site.serve_letter(html);

    let page = chromium(dir, &["--dump-dom", &format!("--user-agent={AGENT}"), &letter]);
    assert!(page.contains("What to read in spring"), "{page}");
    let page = chromium(dir, &["--dump-dom", &format!("--user-agent={AGENT}"), &shop]);
    assert!(page.contains(site::SHOP), "the redirect was not followed: {page}");
    chromium(dir, &["--dump-dom", &format!("--user-agent={AGENT}"), &chapter]);
    let [shop, chapter] = [&shop, &chapter].map(|url| opened(&keys, url));
    assert_eq!((shop.kind, chapter.kind), (Kind::Click, Kind::Download));
    for link in [&shop, &chapter] {
        until(&format!("a request for {}", link.target), BOUND, || {
            site.was_asked_for(&link.target).then_some(())
        });
    }

    let recipient = keys.recipient(1, "reader 1");
    let sql = format!(
        "SELECT kind, position, link, target, device, client, verdict, confidence, address FROM events WHERE recipient = \
         {recipient} ORDER BY kind, position"
    );
    let rows = until("four rows", BOUND, || Some(up.query(&sql)).filter(|rows| rows.lines().count() >= 4));
    let seen = "desktop\tchrome\thuman\tprobable\t::ffff:127.0.0.0";
    let expected = [
        format!("open\ttop\t0\t\t{seen}"),
        format!("open\tbottom\t0\t\t{seen}"),
        format!("click\tunknown\t{}\t{}\t{seen}", shop.link, shop.target),
        format!("download\tunknown\t{}\t{}\t{seen}", chapter.link, chapter.target),
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    as_itself(up, dir, &keys);
}

/// A browser without a window says so, and is taken for the machine that it is.
fn as_itself(up: &Up, dir: &Path, keys: &Keys) {
    let args = [
        "--set",
        &format!("keys.file={}", up.keys.display()),
        "--set",
        &format!("site.base_url={}", up.edge),
    ];
    let pixel = ["link", "open", "--recipient", "machine 1", "--message", "spring"];
    let url = crate::program::says(dir, &[&args[..], &pixel].concat());
    chromium(dir, &["--dump-dom", url.trim()]);
    let recipient = keys.recipient(1, "machine 1");
    let sql = format!("SELECT kind, verdict, confidence FROM events WHERE recipient = {recipient}");
    let row = until("the machine's row", BOUND, || Some(up.query(&sql)).filter(|row| !row.is_empty()));
    assert_eq!(row, "open\tbot\tcertain");
}

/// `mailbeacon link message < newsletter.html`, with the newsletter's hosts on `site`.
fn instrumented(up: &Up, dir: &Path, site: &Site) -> String {
    let (_, html) = NEWSLETTER.split_once("-->\n").unwrap();
    let html = HOSTS.iter().fold(html.to_owned(), |html, host| html.replace(host, &site.base_url));
    let settings = [
        "--set",
        &format!("keys.file={}", up.keys.display()),
        "--set",
        &format!("site.base_url={}", up.edge),
    ];
    let message = ["link", "message", "--recipient", "reader 1", "--message", "spring", "--region", "other"];
    let output = run_with_input(dir, &[&settings[..], &message].concat(), &html);
    let report = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{report}");
    assert!(
        report.lines().any(|line| line.starts_with("link ") && line.ends_with("/ledger/chapter-1.pdf")),
        "{report}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The URL that the element `id` has now.
fn tracked(html: &str, id: &str) -> String {
    let (before, _) = html.split_once(&format!("id=\"{id}\"")).unwrap();
    before.rsplit("href=\"").next().unwrap().split('"').next().unwrap().to_owned()
}

fn opened(keys: &Keys, url: &str) -> Link {
    let path = &url[url.match_indices('/').nth(2).unwrap().0..];
    let (kind, token) = link::parse_path(path.as_bytes()).unwrap();
    keys.open(kind, token).unwrap()
}

/// Runs Chromium with an empty profile until it has loaded the page and all that is in it.
fn chromium(dir: &Path, args: &[&str]) -> String {
    const FLAGS: [&str; 8] = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ];
    let profile = tempfile::tempdir_in(dir).unwrap();
    let page = profile.path().join("page.html");
    let mut command = Command::new("chromium");
    command.args(FLAGS).arg(format!("--user-data-dir={}", profile.path().display())).args(args);
    command.stdin(Stdio::null()).stdout(File::create(&page).unwrap()).stderr(Stdio::null());
    let mut browser = match command.spawn() {
        Ok(browser) => browser,
        Err(cause) => panic!("no chromium ({cause}): apt-get install chromium"),
    };
    let status = until(&format!("the browser ends: {args:?}"), BOUND, || browser.try_wait().unwrap());
    assert!(status.success(), "{args:?}: {status}");
    std::fs::read_to_string(page).unwrap()
}
