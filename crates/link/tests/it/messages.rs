//! Whole messages: `cases/NAME.html` in, `cases/NAME.out` expected.
//!
//! The first line of a case is a comment with its options, and is taken off: `case`, then `NAME=VALUE` or words.
//! In the expected text a tracked URL is written as what its token says: `{c 1 https://…}`. Behind the message
//! stand its warnings, or its error. `BLESS=1 cargo test -p link` writes the expected files anew: read the diff.

use std::fs;
use std::path::Path;

use event::{Kind, Mode, Position};
use link::{
    GMAIL_CLIP_BYTES, InstrumentError, Keys, LINKS_MAX, MESSAGE_BYTES_MAX, MessageSpec, Site, instrument,
    parse_path,
};

use crate::ring;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cases");

#[test]
fn cases_come_out_as_expected() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut seen = 0;
    for entry in fs::read_dir(CASES).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "html") {
            continue;
        }
        seen += 1;
        let found = run(&fs::read_to_string(&path).unwrap());
        let expected_path = path.with_extension("out");
        if bless {
            fs::write(&expected_path, &found).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        assert!(found == expected, "{}\n--- found\n{found}\n--- expected\n{expected}", name(&path));
    }
    assert!(seen >= 20, "only {seen} cases were found");
}

fn run(case: &str) -> String {
    let (options, html) = case.split_once('\n').unwrap();
    let options = options.strip_prefix("<!-- case ").and_then(|rest| rest.strip_suffix("-->")).unwrap();
    let keys = ring();
    let mut site = Site::new("https://m.news.example").unwrap();
    let mut spec = MessageSpec {
        workspace: 7,
        message: 42,
        recipient: keys.recipient(7, "customer 1"),
        sent_at_ms: 1_795_000_000_999,
        ..MessageSpec::default()
    };
    for option in options.split_whitespace() {
        match option.split_once('=').unwrap_or((option, "")) {
            ("site", base) => site = Site::new(base).unwrap(),
            ("clicks", "off") => spec.clicks = false,
            ("opens", "off") => spec.opens = false,
            ("mode", "off") => spec.mode = Mode::Off,
            ("mode", "date") => spec.mode = Mode::Date,
            ("mode", "anonymous") => spec.mode = Mode::Anonymous,
            ("trap", target) => spec.trap = Some(target.into()),
            ("sent_at_ms", time) => spec.sent_at_ms = time.parse().unwrap(),
            ("bytes_max", bytes) => spec.bytes_max = bytes.parse().unwrap(),
            (name, value) if name.starts_with("utm_") => spec.utm.push((name.into(), value.into())),
            _ => panic!("unknown option {option}"),
        }
    }
    match instrument(html, &keys, &site, &spec) {
        Ok(done) => {
            for link in &done.links {
                assert!(done.html.contains(&link.url));
                assert_eq!(
                    link.number,
                    1 + done.links.iter().position(|other| other == link).unwrap() as u32
                );
            }
            let warnings: Vec<_> =
                done.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
            format!("{}=====\n{}", readable(&done.html, &keys, &site, &spec), warnings.concat())
        }
        Err(error) => format!("=====\nerror: {error}\n"),
    }
}

/// The message with each tracked URL written as what it says, and our long style shortened.
fn readable(html: &str, keys: &Keys, site: &Site, spec: &MessageSpec) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(at) = rest.find(site.base_url()) {
        out.push_str(&rest[..at]);
        let path = &rest[at + site.base_url().len()..];
        let end =
            path.find(|c: char| !(c.is_ascii_alphanumeric() || "/_-".contains(c))).unwrap_or(path.len());
        match parse_path(&path.as_bytes()[..end]).map(|(kind, token)| keys.open(kind, token)) {
            Some(Ok(link)) => {
                assert_eq!((link.workspace, link.message, link.mode), (7, 42, spec.mode));
                assert_eq!(link.recipient, if link.mode == Mode::Anonymous { 0 } else { spec.recipient });
                assert_eq!(link.sent_at_ms, 1_795_000_000_000);
                let trap = if link.trap { "trap " } else { "" };
                out.push_str(&match (link.kind, link.position) {
                    (Kind::Open, Position::Top) => "{o top}".to_owned(),
                    (Kind::Open, Position::Bottom) => "{o bottom}".to_owned(),
                    (Kind::Click, Position::Unspecified) => {
                        format!("{{{trap}c {} {}}}", link.link, link.target)
                    }
                    (Kind::Download, Position::Unspecified) => {
                        format!("{{{trap}d {} {}}}", link.link, link.target)
                    }
                    other => panic!("{other:?}"),
                });
            }
            _ => out.push_str(&rest[at..rest.len() - path.len() + end]),
        }
        rest = &path[end..];
    }
    out.push_str(rest);
    let pixel = "width=\"1\" height=\"1\" alt=\"\" border=\"0\" style=\"display:block;height:1px!important;\
                 width:1px!important;border:0!important;margin:0!important;padding:0!important\"";
    out.replace(pixel, "PIXEL")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_second_pass_rewrites_no_link_again() {
    let html = fs::read_to_string(format!("{CASES}/newsletter.html")).unwrap();
    // Our own mark is taken out in the first pass, so that the second could not know of it.
    let html = html.replace("data-mailbeacon=\"off\"", "data-no-track");
    let site = Site::new("https://m.news.example").unwrap();
    let spec = MessageSpec { opens: false, ..MessageSpec::default() };
    let once = instrument(&html, &ring(), &site, &spec).unwrap();
    let twice = instrument(&once.html, &ring(), &site, &spec).unwrap();
    assert!(!once.links.is_empty() && twice.links.is_empty());
    assert_eq!(once.html, twice.html);
}

#[test]
fn links_and_warnings_are_bounded() {
    let site = Site::new("https://m.news.example").unwrap();
    let links = |count: usize| "<a href=\"https://a.example/\">x</a>".repeat(count);
    let spec = MessageSpec::default();
    assert_eq!(instrument(&links(LINKS_MAX), &ring(), &site, &spec).unwrap().links.len(), LINKS_MAX);
    assert_eq!(instrument(&links(LINKS_MAX + 1), &ring(), &site, &spec), Err(InstrumentError::Links));
    let doubtful = "<a href=\"page.html\">x</a>".repeat(500);
    let warnings = instrument(&doubtful, &ring(), &site, &spec).unwrap().warnings;
    assert_eq!(warnings.len(), link::WARNINGS_MAX);
    assert!(warnings.last().unwrap().contains("more warnings"));
}

#[test]
fn what_is_too_long_for_clients_is_warned_of() {
    let site = Site::new("https://m.news.example").unwrap();
    let warnings = |html: &str| instrument(html, &ring(), &site, &MessageSpec::default()).unwrap().warnings;
    let text = |bytes: usize| format!("<body><p>{}</p></body>", "word ".repeat(bytes / 5));
    assert_eq!(warnings(&text(GMAIL_CLIP_BYTES - 1_000)), [""; 0]);
    assert!(warnings(&text(GMAIL_CLIP_BYTES)).concat().contains("Gmail cuts it off"));
    let link = |bytes: usize| format!("<body><a href='https://a.example/{}'>x</a></body>", "x".repeat(bytes));
    assert_eq!(warnings(&link(200)), [""; 0]);
    assert!(warnings(&link(500)).concat().contains("link 1: its URL has"));
}

#[test]
fn a_tower_of_elements_is_refused_in_time() {
    let site = Site::new("https://m.news.example").unwrap();
    let tower = "<b>".repeat(MESSAGE_BYTES_MAX / 3);
    let refused = instrument(&tower, &ring(), &site, &MessageSpec::default()).unwrap_err().to_string();
    assert!(refused.contains("too deeply"), "{refused}");
}

proptest::proptest! {
    /// Tag soup: never a panic, and without pixels and links every byte stays.
    #[test]
    fn soup_is_survived(soup in "(<a href=|<area |<body>|</body>|\"|'|>|</a>|https://a.example/\\?x=1&amp;y|data-mailbeacon=off|<!--|-->|<!doctype html>|<style>|\\PC| |=|&|<){0,40}") {
        let site = Site::new("https://m.news.example").unwrap();
        let (keys, spec) = (ring(), MessageSpec::default());
        if let Ok(done) = instrument(&soup, &keys, &site, &spec) {
            for link in &done.links {
                proptest::prop_assert!(done.html.contains(&link.url));
            }
        }
        let off = MessageSpec { mode: Mode::Off, ..spec };
        if let Ok(done) = instrument(&soup, &keys, &site, &off)
            && !soup.contains("data-mailbeacon")
        {
            proptest::prop_assert_eq!(done.html, soup);
        }
    }
}
