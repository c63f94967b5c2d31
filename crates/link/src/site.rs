//! Where the edge is reached, and the paths under which it is.

use event::Kind;
use url::Url;

use crate::keys::Keys;
use crate::mint::{Link, MintError};

/// The path before each kind's token. Short and neutral: filter lists block paths that say what they are for.
pub const PATHS: [(Kind, &str); 3] = [(Kind::Open, "/o/"), (Kind::Click, "/c/"), (Kind::Download, "/d/")];

/// The longest tracked URL, in bytes: older mail clients and rewriting gateways cut or refuse longer ones.
pub const URL_BYTES_MAX: usize = 2_000;

/// The kind and the token in a request's path, without query; nothing when the path is not the edge's.
pub fn parse_path(path: &[u8]) -> Option<(Kind, &[u8])> {
    PATHS.into_iter().find_map(|(kind, before)| Some((kind, path.strip_prefix(before.as_bytes())?)))
}

/// The edge as recipients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// `https://m.example.com`: an origin, without a slash at its end.
    base_url: String,
    url: Url,
}

/// Why a text is no site.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("base_url {value:?} {problem}, expected an origin such as https://m.example.com")]
pub struct SiteError {
    value: String,
    problem: &'static str,
}

impl Site {
    /// Reads a base URL. A slash at its end is dropped; a path is refused, since the edge answers at the root.
    ///
    /// # Errors
    /// When it is not an http or https origin.
    pub fn new(base_url: &str) -> Result<Site, SiteError> {
        let error = |problem| SiteError { value: base_url.to_owned(), problem };
        let url = Url::parse(base_url).map_err(|_| error("is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(error("is not http or https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(error("names a user"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(error("has a path, query or fragment"));
        }
        Ok(Site { base_url: url.origin().ascii_serialization(), url })
    }

    /// `https://m.example.com`, without a slash at its end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The tracked URL of a link.
    ///
    /// # Errors
    /// When the link cannot be minted, or its URL is longer than [`URL_BYTES_MAX`].
    pub fn url(&self, keys: &Keys, link: &Link) -> Result<String, MintError> {
        let token = keys.mint(link)?;
        let path = PATHS.iter().find(|(kind, _)| *kind == link.kind).map(|(_, path)| *path);
        let url = [&self.base_url, path.expect("a kind without a path was not minted"), &token].concat();
        if url.len() > URL_BYTES_MAX {
            return Err(MintError::TooLong {
                link: link.link,
                what: "URL",
                bytes: url.len(),
                bytes_max: URL_BYTES_MAX,
                target_bytes: link.target.len(),
            });
        }
        Ok(url)
    }

    /// Whether a URL leads to this site, however it is spelled.
    pub(crate) fn holds(&self, url: &str) -> bool {
        Url::parse(url).is_ok_and(|url| url.origin() == self.url.origin())
    }

    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }
}
