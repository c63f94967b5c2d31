//! Where the paths of the requests come from: links minted as the sending application mints them.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use event::{Kind, Mode, Position};
use link::{Keys, Link, Site};

use crate::mix::Spoiled;
use crate::options::RunOptions;
use crate::plan::Hit;

/// How long before the run its messages were sent: long enough for an open to be a person's.
const SENT_BEFORE_MS: i64 = 3_600_000;

/// A source of request paths.
#[derive(Debug)]
pub enum Mint {
    /// Every request asks for this one.
    Path(String),
    /// Every request asks for a link of its own.
    Links(Box<Links>),
}

/// What links are minted with.
#[derive(Debug)]
pub struct Links {
    keys: Keys,
    /// A ring that the edge does not know.
    foreign: Keys,
    site: Site,
    workspace: u32,
    sent_at_ms: i64,
}

impl Mint {
    /// As the command line says; reads the keys file.
    pub fn load(options: &RunOptions) -> anyhow::Result<Mint> {
        if let Some(path) = &options.path {
            return Ok(Mint::Path(path.clone()));
        }
        let file = options.keys.as_ref().context("neither --keys nor --path is given")?;
        let text = fs::read_to_string(file)
            .with_context(|| format!("failed to read keys from {}", file.display()))?;
        let keys =
            Keys::from_toml(&text).with_context(|| format!("failed to read keys from {}", file.display()))?;
        Mint::links(keys, &options.url, options.workspace)
    }

    /// Mints with `keys` for the server at `url`.
    pub fn links(keys: Keys, url: &str, workspace: u32) -> anyhow::Result<Mint> {
        let site = Site::new(url.trim_end_matches('/')).context("failed to mint links for --url")?;
        let now_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis();
        let foreign = Keys::from_toml(&Keys::generate()).context("failed to make a foreign key")?;
        let sent_at_ms = now_ms as i64 - SENT_BEFORE_MS;
        Ok(Mint::Links(Box::new(Links { keys, foreign, site, workspace, sent_at_ms })))
    }

    /// The path that asks for `hit`.
    pub fn path(&self, hit: &Hit) -> anyhow::Result<String> {
        let links = match self {
            Mint::Path(path) => return Ok(path.clone()),
            Mint::Links(links) => links,
        };
        let link = Link {
            kind: hit.kind,
            workspace: links.workspace,
            message: hit.message,
            recipient: hit.recipient,
            link: hit.link,
            target: target(hit),
            sent_at_ms: links.sent_at_ms,
            position: if hit.kind == Kind::Open { Position::Top } else { Position::Unspecified },
            mode: Mode::Full,
            region: hit.region,
            trap: false,
        };
        let keys = if hit.spoiled == Some(Spoiled::Foreign) { &links.foreign } else { &links.keys };
        let url = links.site.url(keys, &link).context("failed to mint a link")?;
        let path = url.strip_prefix(links.site.base_url()).context("a link does not begin with its site")?;
        Ok(spoil(path, hit.spoiled))
    }
}

/// A minted path as it arrives. The last characters are the end of the token, all of them base64url.
fn spoil(path: &str, how: Option<Spoiled>) -> String {
    match how {
        None | Some(Spoiled::Foreign) => path.to_owned(),
        Some(Spoiled::Cut) => path[..path.len() - 6].to_owned(),
        Some(Spoiled::Forged) => {
            let (rest, seal) = path.split_at(path.len() - 6);
            let other = if seal.starts_with('A') { 'B' } else { 'A' };
            format!("{rest}{other}{}", &seal[1..])
        }
    }
}

/// Where the link of `hit` goes; empty for an open.
pub fn target(hit: &Hit) -> String {
    match hit.kind {
        Kind::Click => {
            format!("https://shop.example/autumn/offer-{}?utm_source=mail&utm_campaign=autumn", hit.link)
        }
        Kind::Download => format!("https://files.example/brochures/catalogue-{}.pdf", hit.link),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use event::Region;

    use super::*;

    #[test]
    fn a_path_says_what_was_asked_for() {
        let text = Keys::generate();
        let mint = Mint::links(Keys::from_toml(&text).unwrap(), "http://127.0.0.1:8080/", 7).unwrap();
        for (kind, number) in [(Kind::Open, 0), (Kind::Click, 3), (Kind::Download, 4)] {
            let hit = Hit {
                kind,
                message: 11,
                recipient: 12,
                link: number,
                region: Region::Eu,
                head: false,
                spoiled: None,
            };
            let path = mint.path(&hit).unwrap();
            let (of, token) = link::parse_path(path.as_bytes()).unwrap();
            let sealed = Keys::from_toml(&text).unwrap().open(of, token).unwrap();
            assert_eq!(of, kind);
            assert_eq!(
                (sealed.workspace, sealed.message, sealed.recipient, sealed.link, sealed.region),
                (7, 11, 12, number, Region::Eu)
            );
            assert_eq!(sealed.target.is_empty(), kind == Kind::Open);
            for spoiled in [Spoiled::Cut, Spoiled::Forged, Spoiled::Foreign] {
                let path = mint.path(&Hit { spoiled: Some(spoiled), ..hit }).unwrap();
                let (of, token) = link::parse_path(path.as_bytes()).unwrap();
                assert!(Keys::from_toml(&text).unwrap().open(of, token).is_err(), "{spoiled:?}");
            }
        }
    }
}
