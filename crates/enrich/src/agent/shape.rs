//! What the shape of a user agent tells, where no word of the table speaks. All texts are in lower case.

use std::ops::Range;

/// A robot's way to name itself: in `(compatible; …)`, or behind `like Gecko` inside the same parentheses.
pub fn is_compatible(lower: &str) -> bool {
    let behind = |mark: &str| {
        lower.match_indices(mark).map(|(at, _)| lower[at + mark.len()..].trim_start()).collect::<Vec<_>>()
    };
    // `(KHTML, like Gecko; compatible; Googlebot/2.1; …)`, `(KHTML, like Gecko; Google Page Speed Insights)`.
    let spoken = |rest: &&str| {
        let inside = rest.split(')').next().unwrap_or_default();
        let said = inside.strip_prefix([';', ',']).map(str::trim_start).unwrap_or_default();
        said.bytes().filter(u8::is_ascii_alphabetic).count() > 2
            && !["safari", "opera"].iter().any(|name| said.starts_with(name))
    };
    if behind("like gecko").iter().any(spoken) {
        return true;
    }
    // `… Safari/537.36; compatible; OAI-SearchBot/1.0; …`
    if lower.contains("; compatible;") {
        return true;
    }
    behind("(compatible").iter().any(|rest| {
        let product = rest.trim_start_matches([';', ',', ':', ' ']);
        let product = product.strip_prefix("u; ").unwrap_or(product);
        !COMPATIBLE_BROWSERS.iter().any(|name| product.starts_with(name))
    })
}

/// Those that wrote `(compatible; …)` themselves: Internet Explorer and what is built on it, Konqueror, mail clients
/// and phones of the 2000s.
#[rustfmt::skip]
const COMPATIBLE_BROWSERS: [&str; 20] = [
    "msie", "konqueror", "teleca", "windows nt", "series", "ibrowse", "linux", "opera", "webtv", "icab", "omniweb",
    "avantgo", "netscape", "mspie", "aol", "polaris", "infinet", "googletoolbar", "ms-office", "aggregation",
];

/// A web site or an e-mail address: robots say where to complain, people's programs do not. `com.example.app` is a
/// program's own name and no site.
pub fn names_site(lower: &str) -> bool {
    if NO_SITES.iter().any(|part| lower.contains(part)) {
        return false;
    }
    let bytes = lower.as_bytes();
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'@');
    // Programs of phones and tablets carry the names of sites, and so do builds of their systems.
    let handheld = ["android", "iphone", "ipad"].iter().any(|name| lower.contains(name));
    bytes.chunk_by(|a, b| part(a) == part(b)).filter(|run| !handheld || run.contains(&b'@')).any(is_site)
}

/// `example.com`, `www.example.com` or `someone@example.anything`.
fn is_site(run: &[u8]) -> bool {
    let has_letter = |label: &[u8]| label.iter().filter(|byte| byte.is_ascii_alphabetic()).count() > 1;
    let (mailbox, host) = match run.iter().position(|byte| *byte == b'@') {
        Some(at) => (&run[..at], &run[at + 1..]),
        None => (&run[..0], run),
    };
    let labels: Vec<&[u8]> = host.split(|byte| *byte == b'.').collect();
    let [first, .., top] = labels[..] else { return false };
    let owner = labels[labels.len() - 2];
    if labels.len() > LABELS_MAX || !has_letter(owner) || !has_letter(top) {
        return false;
    }
    let is_top = |label: &[u8]| TOP_DOMAINS.iter().any(|top| top.as_bytes() == label);
    has_letter(mailbox) || is_top(top) && (labels.len() == 2 || !is_top(first))
}

/// Longer ones are builds' names.
const LABELS_MAX: usize = 5;

/// What people's programs carry a site's name in: shells of desktop programs, Facebook's own browser (the name of the
/// telephone company), a component and a browser that are named after theirs.
const NO_SITES: [&str; 4] = ["electron/", "fbav/", "bsalsa.com", "(web.de/"];

/// Of the sites of robots; those that are also file endings or parts of versions are left out.
#[rustfmt::skip]
const TOP_DOMAINS: [&str; 38] = [
    "com", "net", "org", "edu", "gov", "info", "biz", "io", "ai", "co", "dev", "app", "cloud", "tech", "network", "online",
    "de", "ru", "fr", "eu", "uk", "nl", "ch", "at", "it", "es", "pl", "cz", "se", "no", "dk", "fi", "us", "ca", "br", "jp",
    "cn", "ua",
];

/// Another name in front of the whole agent of a computer's browser. Phones and televisions put theirs there too.
pub fn hides_behind_browser(lower: &str) -> bool {
    let Some(at) = lower.find("mozilla/5.0 (").filter(|at| *at > 0) else { return false };
    let platform = &lower[at + "mozilla/5.0 (".len()..];
    ["windows nt", "macintosh", "x11"].iter().any(|name| platform.starts_with(name))
        && !lower.starts_with("brightsign/")
}

/// A system or a device is named.
pub fn names_platform(lower: &str) -> bool {
    let begins_word = |at: usize| at == 0 || !lower.as_bytes()[at - 1].is_ascii_alphabetic();
    PLATFORMS.iter().any(|name| lower.match_indices(name).any(|(at, _)| begins_word(at)))
}

/// Each at the beginning of a word. Of what is no system, makers of phones and screens that put their name in front.
#[rustfmt::skip]
const PLATFORMS: &[&str] = &[
    "windows", "winnt", "win16", "win32", "win64", "win98", "win95", "win9x", "win10", "win7", "wince", "mac os", "macos",
    "macintosh", "mac_", "os=mac", "os x", "osx", "darwin", "linux", "x11", "ubuntu", "cygwin", "cros", "freebsd",
    "openbsd", "netbsd", "dragonfly", "sunos", "irix", "hp-ux", "aix", "amiga", "morphos", "haiku", "beos", "os/2", "openvms", "risc os",
    "android", "adr ", "iphone", "ipad", "ipod", "ios", "watchos", "watch os", "tvos", "appletv", "visionos",
    "fuchsia", "harmonyos", "openharmony", "bb10", "blackberry", "playbook", "symb", "series", "s60", "kaios", "maemo",
    "meego", "tizen", "web0s", "webos", "hpwos", "palm", "bada", "brew", "rex;", "midp", "cldc", "j2me", "maui", "wap",
    "spreadtrum", "nokia", "samsung", "sonyericsson", "motorola", "nintendo", "playstation", "xbox", "dreamcast",
    "hbbtv", "smart-tv", "smarttv", "googletv", "crkey", "dtv", "netcast", "viera", "aquos", "brightsign", "roku", "vizio",
    "espial", "zeasn", "kreatv", "sagemcom", "youview", "netflix", "dlnadoc", "google fiber", "amazon;aft", "astro;", "kindle", "webtv/", "device model",
];

/// A mail program, by its name.
pub fn names_mail(lower: &str) -> bool {
    lower.starts_with("mail")
        || lower.contains("outlook")
        || lower.match_indices("mail").any(|(at, mail)| {
            let rest = &lower[at + mail.len()..];
            rest.is_empty() || rest.starts_with(['/', ' ', '-'])
        })
}

/// Where an Android agent names its model: the field behind the version, and behind a language.
pub fn android_model(lower: &str) -> Range<usize> {
    let Some(open) = lower.find("android ") else { return 0..0 };
    let end = lower[open..].find(')').map_or(lower.len(), |at| open + at);
    let mut start = open;
    for field in lower[open..end].split_inclusive(';').skip(1) {
        start = lower.len().min(field.as_ptr() as usize - lower.as_ptr() as usize);
        let name = field.trim_end_matches(';').trim();
        let language = name.len() == 2 || name.len() == 5 && matches!(name.as_bytes()[2], b'-' | b'_');
        if !language {
            return start..start + field.len();
        }
    }
    start..start
}
