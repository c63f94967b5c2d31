//! How much of a place is kept, what it says of the recipient, and the local time there.

use event::{Event, Kind};

use crate::device::Trust;
use crate::network::{Network, NetworkKind};
use crate::place::Place;
use crate::region::{RegionClass, is_eu_eea_uk_zone};
use crate::verdict::Verdict;
use crate::zone;

/// A place with what may be made of it.
#[derive(Debug)]
pub(crate) struct Located<'a> {
    pub place: Place<'a>,
    pub trust: Trust,
    /// What the place says of the recipient's region.
    pub says: RegionClass,
    /// Local hour and ISO weekday.
    pub local: Option<(u8, u8)>,
}

impl Default for Located<'_> {
    fn default() -> Self {
        Located { place: Place::NOWHERE, trust: Trust::None, says: RegionClass::Unknown, local: None }
    }
}

impl<'a> Located<'a> {
    /// From what the databases say of the visitor's address.
    pub fn by_address(
        found: Option<Place<'a>>,
        network: Option<Network>,
        verdict: Verdict,
        at_ms: i64,
    ) -> Located<'a> {
        let Some(found) = found else { return Located::default() };
        let kept = kept(verdict, network.map(|network| network.kind));
        let country = zone::country(found.country);
        let code = country.map_or("", |country| country.code);
        let mut place = match kept {
            Kept::Nothing => return Located::default(),
            Kept::Country => Place { country: code, version: found.version, ..Place::NOWHERE },
            Kept::Hint | Kept::All => Place { country: code, ..found },
        };
        let trust = if kept == Kept::All { Trust::High } else { Trust::Low };

        // A prefetch runs at the machine's hour, not at the reader's.
        let mut local = None;
        if verdict == Verdict::Prefetch {
            place.time_zone = "";
        } else {
            let single = country.map_or("", |country| country.zone);
            let at_place =
                || if place.latitude.is_nan() { "" } else { zone::at(place.latitude, place.longitude) };
            (place.time_zone, local) = first_known(at_ms, [&|| place.time_zone, &at_place, &|| single]);
        }
        Located { place, trust, says: says(verdict, trust, code), local }
    }

    /// From what the sender says of the recipient. The instant is that of the sending.
    pub fn by_sender(event: &Event<'a>) -> Located<'a> {
        debug_assert_eq!(event.kind, Kind::Sent);
        let at_ms = if event.sent_at_ms != 0 { event.sent_at_ms } else { event.received_at_ms };
        let country = zone::country(event.country);
        let code = country.map_or("", |country| country.code);
        let single = country.map_or("", |country| country.zone);
        let (time_zone, local) = first_known(at_ms, [&|| event.time_zone, &|| single, &|| ""]);
        if code.is_empty() && time_zone.is_empty() {
            return Located::default();
        }
        let by_zone = if is_eu_eea_uk_zone(time_zone) { RegionClass::Eu } else { RegionClass::Unknown };
        Located {
            place: Place { country: code, time_zone, version: BY_SENDER, ..Place::NOWHERE },
            trust: Trust::High,
            says: RegionClass::of_country(code).and(by_zone),
            local,
        }
    }
}

/// Stands in the place of a database's version when the sender said where the recipient is.
const BY_SENDER: &str = "sender";

/// The first zone whose rules are known, with the local time there.
fn first_known<'a>(at_ms: i64, names: [&dyn Fn() -> &'a str; 3]) -> (&'a str, Option<(u8, u8)>) {
    for name in names {
        let name = name();
        if let Some(rules) = zone::rules(name) {
            return (name, zone::local(at_ms, &rules));
        }
    }
    ("", None)
}

/// How much of a place is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// It is the provider's place, not the reader's.
    Nothing,
    /// The country only, with low trust: the way leads through a relay that keeps the country as a rule.
    Country,
    /// All of it, with low trust: a machine's place.
    Hint,
    /// All of it.
    All,
}

fn kept(verdict: Verdict, network: Option<NetworkKind>) -> Kept {
    match (verdict, network) {
        (Verdict::None | Verdict::Proxy, _) => Kept::Nothing,
        // Apple's egress is in the reader's country; Google's, Yahoo's and Microsoft's is where their servers are.
        (Verdict::Prefetch | Verdict::Human, Some(NetworkKind::AppleEgress)) => Kept::Country,
        (Verdict::Prefetch, _) => Kept::Nothing,
        (Verdict::Human, Some(NetworkKind::Mailbox | NetworkKind::Preload)) => Kept::Nothing,
        (Verdict::Human, Some(NetworkKind::Gateway)) => Kept::Country,
        (Verdict::Human, Some(NetworkKind::DataCentre)) | (Verdict::Scanner | Verdict::Bot, _) => Kept::Hint,
        (Verdict::Human, _) => Kept::All,
    }
}

/// What a place says of the recipient. Fails closed: a place of low trust can say `Eu`, and cannot say `Other`. A
/// scanner's place says nothing: it stands where the vendor's servers are.
fn says(verdict: Verdict, trust: Trust, country: &str) -> RegionClass {
    match (verdict, RegionClass::of_country(country), trust) {
        (Verdict::Scanner | Verdict::Bot, ..) => RegionClass::Unknown,
        (_, RegionClass::Other, Trust::Low | Trust::None) => RegionClass::Unknown,
        (_, class, _) => class,
    }
}
