//! Links: the token in a tracked URL, where a click may go, and a message's HTML turned into a tracked one.
//!
//! Owns the format of tokens and their keys, the hashes that stand for recipients, messages and mail domains,
//! the paths of the edge, and the rules of instrumentation. Does no I/O and reads no clock; a key file comes in
//! as text. Never sends a click anywhere that was not sealed into its token.
//!
//! ```
//! use event::Kind;
//! use link::{Keys, MessageSpec, Site, instrument, parse_path};
//!
//! let keys = Keys::from_toml(&Keys::generate())?;
//! let site = Site::new("https://m.example.com")?;
//! let spec = MessageSpec {
//!     workspace: 1,
//!     message: keys.message(1, "spring sale"),
//!     recipient: keys.recipient(1, "customer 17"),
//!     ..MessageSpec::default()
//! };
//! let sent = instrument("<body><a href='https://shop.example/?a&amp;b'>Shop</a></body>", &keys, &site, &spec)?;
//!
//! let path = sent.links[0].url.strip_prefix(site.base_url()).expect("a link of the site");
//! let (kind, token) = parse_path(path.as_bytes()).expect("a path of the edge");
//! assert_eq!(kind, Kind::Click);
//! assert_eq!(keys.open(kind, token)?.target, "https://shop.example/?a&b");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod html;
mod key_file;
mod keys;
mod mint;
mod payload;
mod site;
mod siv;
mod target;
mod token;

pub use html::{
    GMAIL_CLIP_BYTES, InstrumentError, Instrumented, LINKS_MAX, LinkReport, MESSAGE_BYTES_MAX, MessageSpec,
    WARNINGS_MAX, instrument,
};
pub use key_file::KeysError;
pub use keys::Keys;
pub use mint::{Link, MintError, names_recipient};
pub use site::{PATHS, Site, SiteError, URL_BYTES_MAX, parse_path};
pub use target::{TargetProblem, location};
pub use token::{TOKEN_BYTES_MAX, TokenError};
