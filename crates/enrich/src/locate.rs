//! How much of a place is kept, what it says of the recipient, and the local time there.

use event::Event;

use crate::device::Trust;
use crate::network::{Network, NetworkKind};
use crate::place::Place;
use crate::region::{RegionClass, is_eu_eea_uk_zone};
use crate::spot::Spot;
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
        Located { place: NOWHERE, trust: Trust::None, says: RegionClass::Unknown, local: None }
    }
}

const NOWHERE: Place<'static> = Place {
    country: "",
    region: "",
    city: "",
    latitude: f32::NAN,
    longitude: f32::NAN,
    accuracy_km: 0,
    time_zone: "",
    version: "",
};

impl<'a> Located<'a> {
    /// From where the visitor's address is.
    pub fn by_address(
        spot: Option<&'a Spot>,
        network: Option<Network>,
        verdict: Verdict,
        at_ms: i64,
    ) -> Located<'a> {
        let Some(spot) = spot else { return Located::default() };
        let country = spot.country.map_or("", |country| country.code);
        let whole = Place {
            country,
            region: &spot.region,
            city: &spot.city,
            latitude: spot.latitude,
            longitude: spot.longitude,
            accuracy_km: spot.accuracy_km,
            time_zone: &spot.zone.name,
            version: &spot.version,
        };
        let (place, zone, trust) = match kept(verdict, network.map(|network| network.kind)) {
            Kept::Nothing => return Located::default(),
            Kept::Country => {
                let zone = &spot.country_zone;
                (
                    Place { country, time_zone: &zone.name, version: &spot.version, ..NOWHERE },
                    zone,
                    Trust::Low,
                )
            }
            Kept::Hint => (whole, &spot.zone, Trust::Low),
            Kept::All => (whole, &spot.zone, Trust::High),
        };
        let says = says(verdict, trust, country);
        // A prefetch runs at the machine's hour, not at the reader's.
        if verdict == Verdict::Prefetch {
            return Located { place: Place { time_zone: "", ..place }, trust, says, local: None };
        }
        let local = zone.rules.as_ref().and_then(|rules| zone::local(at_ms, rules));
        Located { place, trust, says, local }
    }

    /// From what the sender says of the recipient. The instant is that of the sending.
    pub fn by_sender(event: &Event<'a>) -> Located<'a> {
        let at_ms = if event.sent_at_ms != 0 { event.sent_at_ms } else { event.received_at_ms };
        let country = zone::country(event.country);
        let code = country.map_or("", |country| country.code);
        let only = country.map_or("", |country| country.zone);
        let known = |name: &'a str| zone::rules(name).map(|rules| (name, zone::local(at_ms, &rules)));
        let (time_zone, local) = known(event.time_zone).or_else(|| known(only)).unwrap_or_default();
        if code.is_empty() && time_zone.is_empty() {
            return Located::default();
        }
        let by_zone = if is_eu_eea_uk_zone(time_zone) { RegionClass::Eu } else { RegionClass::Unknown };
        Located {
            place: Place { country: code, time_zone, version: BY_SENDER, ..NOWHERE },
            trust: Trust::High,
            says: RegionClass::of_country(code).and(by_zone),
            local,
        }
    }
}

/// Stands in the place of a database's version when the sender said where the recipient is.
const BY_SENDER: &str = "sender";

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
