//! Where a click may go.

use event::limits;
use url::{Host, Url};

/// What keeps a target from being followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetProblem {
    /// Nothing there.
    #[error("is empty, expected an absolute http or https URL")]
    Empty,
    /// Longer than an event keeps.
    #[error("has {bytes} bytes, expected at most {bytes_max}")]
    Long {
        /// Its length as a redirect writes it.
        bytes: usize,
        /// [`event::limits::TARGET`].
        bytes_max: usize,
    },
    /// Relative, or of another scheme.
    #[error("does not start with http:// or https://, expected an absolute http or https URL")]
    Scheme,
    /// A control character, a line break among them: it could end a header.
    #[error("holds a control character, expected none")]
    Control,
    /// `user:password@`: a phishing trick that mail clients block, and a secret in a URL otherwise.
    #[error("names a user before its host, expected none")]
    Userinfo,
    /// No host, or one that no URL can have.
    #[error("has no valid host, expected a domain name or an address")]
    Host,
    /// A port that is no number up to 65535.
    #[error("has no valid port, expected a number up to 65535")]
    Port,
}

/// The target in the form in which it is sealed and written to a `Location` header: printable ASCII, without `"`,
/// `<`, `>`, `\`, `^`, `` ` ``, `{`, `|`, `}` and space.
///
/// What a sender wrote is kept byte for byte, with these exceptions, each of which a browser would make as well
/// or does not see:
/// * the scheme is written in lower case;
/// * a host beyond ASCII is written in its ASCII form (IDNA, UTS 46);
/// * other characters beyond ASCII are percent-encoded as UTF-8, and so is the ASCII that RFC 3986 has no place
///   for (the characters above);
/// * `\` in a path becomes `/`, which is what browsers read there.
///
/// Escapes, dots, order and case are not touched: links that carry a signature of their own stay valid. The
/// function is idempotent.
///
/// # Errors
/// When the target may not be followed.
pub fn location(target: &str) -> Result<String, TargetProblem> {
    if target.is_empty() {
        return Err(TargetProblem::Empty);
    }
    if target.len() > limits::TARGET {
        return Err(TargetProblem::Long { bytes: target.len(), bytes_max: limits::TARGET });
    }
    if target.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(TargetProblem::Control);
    }
    let (scheme, rest) = split_scheme(target).ok_or(TargetProblem::Scheme)?;
    let authority_end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    let mut out = String::with_capacity(target.len() + 16);
    out.push_str(scheme);
    out.push_str("://");
    push_authority(authority, &mut out)?;
    push_tail(tail, &mut out);
    if out.len() > limits::TARGET {
        return Err(TargetProblem::Long { bytes: out.len(), bytes_max: limits::TARGET });
    }
    // A last look with the parser that browsers' rules are written in: what it cannot read, nobody can follow.
    Url::parse(&out).map_err(|_| TargetProblem::Host)?;
    Ok(out)
}

/// So much of a target that its sender knows it again.
pub(crate) fn start(target: &str) -> String {
    const SHOWN_CHARS: usize = 120;
    match target.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &target[..end]),
        None => target.to_owned(),
    }
}

/// The scheme in lower case, and what stands behind `://`.
fn split_scheme(target: &str) -> Option<(&'static str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known)).map(|known| (known, rest))
}

fn push_authority(authority: &str, out: &mut String) -> Result<(), TargetProblem> {
    if authority.contains('@') {
        return Err(TargetProblem::Userinfo);
    }
    // A colon within brackets belongs to an IPv6 address.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    // Browsers accept some of these in a host; no domain has them.
    if host.chars().any(must_be_escaped) {
        return Err(TargetProblem::Host);
    }
    let parsed = Host::parse(host).map_err(|_| TargetProblem::Host)?;
    match parsed {
        Host::Domain(domain) if !host.is_ascii() => out.push_str(&domain),
        _ if host.is_ascii() => out.push_str(host),
        // Digits beyond ASCII that read as an address.
        address => out.push_str(&address.to_string()),
    }
    if let Some(port) = port {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || (!port.is_empty() && port.parse::<u16>().is_err()) {
            return Err(TargetProblem::Port);
        }
        out.push(':');
        out.push_str(port);
    }
    Ok(())
}

fn push_tail(tail: &str, out: &mut String) {
    let mut in_path = true;
    for character in tail.chars() {
        match character {
            '?' | '#' => {
                in_path = false;
                out.push(character);
            }
            '\\' if in_path => out.push('/'),
            _ if must_be_escaped(character) || !character.is_ascii() => push_escaped(character, out),
            _ => out.push(character),
        }
    }
}

/// The printable ASCII that RFC 3986 allows nowhere in a URI.
fn must_be_escaped(character: char) -> bool {
    matches!(character, ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')
}

fn push_escaped(character: char, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        out.push('%');
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}
