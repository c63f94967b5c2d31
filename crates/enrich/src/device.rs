//! What a visit was made with: rules before and after woothee.
//!
//! woothee 0.13 gets the phones right and knows no tablets, few mail clients and no television since 2021; it
//! names an operating system's version that browsers have frozen. What it says is corrected here.

mod model;

use woothee::parser::WootheeResult;

use crate::agent::{Word, android_model};
use model::Says;
pub(crate) use model::prepare;

/// The kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceType {
    /// Not said, or hidden by a proxy.
    #[default]
    Unknown,
    /// A phone.
    Phone,
    /// A tablet. An iPad in its usual setting says it is a Mac, and cannot be told from one.
    Tablet,
    /// A desktop or laptop computer.
    Desktop,
    /// A television or a box beside one.
    Tv,
    /// A games console.
    Console,
    /// A watch or glasses.
    Wearable,
    /// Something else that is known.
    Other,
}

impl DeviceType {
    /// The type as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceType::Unknown => "unknown",
            DeviceType::Phone => "phone",
            DeviceType::Tablet => "tablet",
            DeviceType::Desktop => "desktop",
            DeviceType::Tv => "tv",
            DeviceType::Console => "console",
            DeviceType::Wearable => "wearable",
            DeviceType::Other => "other",
        }
    }
}

/// How far a device or a place can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// There is nothing to believe.
    #[default]
    None,
    /// A hint.
    Low,
    /// As good as its source is.
    High,
}

impl Trust {
    /// The trust as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Trust::None => "none",
            Trust::Low => "low",
            Trust::High => "high",
        }
    }
}

/// A device and the client on it. Words are in lower case; an empty one is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Device {
    pub kind: DeviceType,
    pub os: Box<str>,
    pub os_version: Box<str>,
    pub client: Box<str>,
    pub client_version: Box<str>,
    pub trust: Trust,
}

impl Device {
    /// A device that the agent does not show: only the client is known.
    pub fn hidden(client: &str) -> Device {
        Device { client: client.into(), ..Device::default() }
    }
}

/// The device of an agent that a person may sit at.
pub(crate) fn of(lower: &str, found: Option<&WootheeResult>, word: Option<&Word>) -> Device {
    let (hint_kind, hint_os) = word.map_or((DeviceType::Unknown, ""), |word| hint(word.hint));
    let kind = kind(lower, found, hint_kind);
    let os = os(lower, found, hint_os);
    let (client, client_version) = match word {
        Some(word) if !word.name.is_empty() => (word.name.to_owned(), version_after(lower, word.name)),
        _ => client(lower, found),
    };
    let trust = match kind {
        DeviceType::Unknown => Trust::None,
        // The same words come from a Mac and from an iPad.
        DeviceType::Desktop if os == "macos" && lower.contains("version/") && !lower.contains("chrome/") => {
            Trust::Low
        }
        DeviceType::Tablet | DeviceType::Phone if hint_kind == DeviceType::Unknown && found.is_none() => {
            Trust::Low
        }
        _ => Trust::High,
    };
    Device {
        kind,
        os: os.into(),
        os_version: os_version(lower, os, found).into(),
        client: client.into(),
        client_version: client_version.into(),
        trust,
    }
}

fn hint(text: &'static str) -> (DeviceType, &'static str) {
    let (kind, os) = text.split_once(' ').unwrap_or((text, ""));
    let kind = match kind {
        "phone" => DeviceType::Phone,
        "desktop" => DeviceType::Desktop,
        _ => DeviceType::Unknown,
    };
    (kind, os)
}

/// Words of televisions and what stands beside them.
#[rustfmt::skip]
const TV: [&str; 41] = [
    "smart-tv", "smarttv", "smart tv", "hbbtv", "appletv", "apple tv", "googletv", "google tv", "android tv",
    "androidtv", "andr0id", "crkey", "roku", "netcast", "web0s", "webos tv", " viera", ";viera", "inettv", "bravia", "aquos-",
    "aquosbrowser", "(dtv", "; aft", ";aft", "tv safari", "large screen", "ce-html", " omi/", "opera tv store", "sonycebrowser", "stbapp",
    "_stb", "vizio", "kreatv", "brightsign/", "tv bro/", "(astro;", "youview", "google fiber", "kylo/",
];
const CONSOLES: [&str; 4] = ["playstation", "xbox", "nintendo", "gamepad"];
#[rustfmt::skip]
const WEARABLES: [&str; 11] = [
    "watchos", "watch os", "apple watch", "model/watch", "wear os", "galaxy watch", "oculusbrowser", "picobrowser", " vr safari", "mobile vr",
    "samsung sm-r",
];
/// Tablets that say so. `mobile` does not stand against these.
// YaBrowser and its kin say `/apad` of an Android tablet.
const TABLETS: [&str; 8] = ["ipad", "tablet;", "tablet ", "kindle", "playbook", "silk/", "touchpad", "/apad"];
/// Phones that say so, under systems that computers have as well.
const PHONES: [&str; 10] = [
    "iphone",
    "ipod",
    "windows phone",
    "wpdesktop",
    "zunewp",
    "lumia",
    "kaios",
    "bada/",
    "palmsource",
    "maemo",
];
/// Systems of computers. Of the agents of Apple's library, those on a processor that no phone has.
#[rustfmt::skip]
const COMPUTERS: [&str; 19] = [
    "windows", "win98", "win95", "macintosh", "mac os", "mac_powerpc", "macos", "x11", "cros ", "bsd", "sunos", "os/2", "amiga", "cygwin", "openvms",
    "osf1", "irix", "qtver=", "(win",
];

fn kind(lower: &str, found: Option<&WootheeResult>, hint: DeviceType) -> DeviceType {
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&WEARABLES) {
        return DeviceType::Wearable;
    }
    if has(&CONSOLES) {
        return DeviceType::Console;
    }
    if has(&TV) {
        return DeviceType::Tv;
    }
    let says = model::kind(model_name(lower), lower.contains("mobile"));
    if let Some(Says::Is(kind)) = says {
        return kind;
    }
    let android = lower.contains("android");
    // "Tablet PC 2.0" is in the agent of every desktop Internet Explorer.
    let windows = lower.contains("windows nt");
    if !windows && has(&TABLETS) {
        return DeviceType::Tablet;
    }
    if hint != DeviceType::Unknown {
        return hint;
    }
    if has(&PHONES) || android && says == Some(Says::Phone) {
        return DeviceType::Phone;
    }
    if android && android_tablet(lower) {
        return DeviceType::Tablet;
    }
    // Darwin on a PC's processor is a Mac: woothee takes every CFNetwork for a phone.
    if is_mac(lower) {
        return DeviceType::Desktop;
    }
    match found.map_or("", |found| found.category) {
        // Facebook's agent on Windows reads like a phone's.
        "smartphone" | "mobilephone" if windows => DeviceType::Desktop,
        "smartphone" | "mobilephone" => DeviceType::Phone,
        "pc" if lower.contains("tizen") && lower.contains("mobile") => DeviceType::Phone,
        "pc" => DeviceType::Desktop,
        "appliance" => DeviceType::Other,
        // woothee minds the case of letters, and what it has not heard of.
        _ if android || lower.contains("mobile") || lower.contains("wap") => DeviceType::Phone,
        _ if has(&COMPUTERS) => DeviceType::Desktop,
        _ => DeviceType::Unknown,
    }
}

/// A program on Apple's library, on a Mac.
fn is_mac(lower: &str) -> bool {
    let mac = ["x86_64", "i386", "power%20macintosh", "macbook", "imac", "macmini"];
    lower.contains("darwin/") && mac.iter().any(|name| lower.contains(name))
}

/// The model that an Android agent names.
fn model_name(lower: &str) -> &str {
    let field = lower[android_model(lower)].trim_end_matches(';');
    field.split(" build/").next().unwrap_or_default().trim()
}

/// An Android browser says `Mobile` on a phone and not on a tablet; native apps say neither.
fn android_tablet(lower: &str) -> bool {
    let browser = lower.starts_with("mozilla/") && (lower.contains("safari/") || lower.contains("firefox/"));
    browser && !lower.contains("mobile")
}

fn os(lower: &str, found: Option<&WootheeResult>, hint: &'static str) -> &'static str {
    let name = found.map_or("", |found| found.os);
    if lower.contains("kaios") {
        return "kaios";
    }
    if lower.contains("tizen") {
        return "tizen";
    }
    if lower.contains("web0s") || lower.contains("webos") {
        return "webos";
    }
    if lower.contains("watchos") {
        return "watchos";
    }
    if is_mac(lower) {
        return "macos";
    }
    match name {
        // What a mail client runs on is surer than what woothee makes of its CFNetwork.
        _ if !hint.is_empty() => hint,
        "iPhone" | "iPad" | "iPod" | "iOS" => "ios",
        "Mac OSX" | "Mac OS Classic" => "macos",
        "Android" => "android",
        "ChromeOS" => "chromeos",
        "Linux" => "linux",
        "BSD" => "bsd",
        name if name.starts_with("Windows Phone") => "windows phone",
        name if name.starts_with("Windows") => "windows",
        name if name.starts_with("BlackBerry") => "blackberry",
        _ if lower.contains("android") => "android",
        _ => "",
    }
}

/// The major version of the system, unless browsers have frozen what they say of it: Windows since 10, macOS
/// since 10.15, Android's `10; K`, and iOS since 26 (there the browser's version tells).
fn os_version(lower: &str, os: &str, found: Option<&WootheeResult>) -> String {
    let said = found.map_or("", |found| found.os_version.as_ref());
    let major = major(said);
    match os {
        "windows" if said == "NT 10.0" => String::new(),
        "windows" => found.map_or("", |found| found.os).strip_prefix("Windows ").unwrap_or("").to_lowercase(),
        "macos" if said.starts_with("10.15") => String::new(),
        "macos" => said.split('.').take(2).filter(|part| is_number(part)).collect::<Vec<_>>().join("."),
        "android" if lower.contains("android 10; k)") => String::new(),
        // Frozen as well, at 14541.
        "chromeos" => String::new(),
        "kaios" | "tizen" => version_after(lower, os),
        "ios" => match version_after(lower, "version") {
            browser if browser.parse().is_ok_and(|n: u32| n >= 26) => browser,
            _ => major,
        },
        _ => major,
    }
}

/// The browser and its major version.
fn client(lower: &str, found: Option<&WootheeResult>) -> (String, String) {
    if let Some((token, name)) = BROWSERS.iter().find(|(token, _)| lower.contains(token)) {
        return ((*name).to_owned(), version_after(lower, token));
    }
    match found {
        // `Version/4.0` is in every Android web view since 4.4; the engine's own tells.
        Some(found) if found.name == "Webview" && lower.contains("chrome/") => {
            ("webview".to_owned(), version_after(lower, "chrome"))
        }
        Some(found) if found.name != UNKNOWN => (found.name.to_lowercase(), major(found.version)),
        _ => (String::new(), String::new()),
    }
}

/// Browsers that woothee takes for the one that they are built on, by their own word. The first that fits decides.
#[rustfmt::skip]
const BROWSERS: [(&str, &str); 21] = [
    ("samsungbrowser", "samsung internet"), ("huaweibrowser", "huawei browser"), ("miuibrowser", "miui browser"),
    ("heytapbrowser", "heytap browser"), ("vivobrowser", "vivo browser"), ("silk/", "silk"), ("whale/", "whale"),
    ("duckduckgo", "duckduckgo"), ("ddg/", "duckduckgo"), ("ecosia", "ecosia"), ("brave/", "brave"), ("crios", "chrome"),
    ("fxios", "firefox"), ("edgios", "edge"), ("edga", "edge"), ("opr/", "opera"), ("opt/", "opera"), ("gsa/", "google app"),
    ("instagram", "instagram"), ("fbav", "facebook"), ("micromessenger", "wechat"),
];

/// What woothee says for what it does not know.
const UNKNOWN: &str = "UNKNOWN";

/// The first number of a version, if it begins with one.
fn major(version: &str) -> String {
    version.split(['.', '_', ' ']).next().filter(|part| is_number(part)).unwrap_or("").to_owned()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The major version after `name/` or `name `, both in lower case.
fn version_after(lower: &str, name: &str) -> String {
    let Some(at) = lower.find(name) else { return String::new() };
    let rest = &lower[at + name.len()..];
    let rest = if name.ends_with('/') { rest } else { rest.strip_prefix(['/', ' ']).unwrap_or("") };
    rest.split(|c: char| !c.is_ascii_digit()).next().filter(|part| is_number(part)).unwrap_or("").to_owned()
}
