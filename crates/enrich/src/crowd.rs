//! What may be told of a user agent where nothing may tell one person from another: the crowd that it is of.
//!
//! A user agent names a model, a build, a language: few people share one, and some share it with nobody. A crowd is
//! one of a short list of texts, which stands in the agent's place from the edge on. It is chosen so that the rules
//! come to the same verdict by it, and the kind of device stays known where millions have it.

use crate::agent::{self, Agent, Role};
use crate::device::{Device, DeviceType, Trust};

/// A crowd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// What stands in place of the user agent; empty for those that send none.
    pub agent: &'static str,
    /// People as far as the agent tells, those behind an image proxy among them. Else a machine.
    pub is_people: bool,
}

/// The crowd of a user agent.
pub fn crowd(user_agent: &str) -> Crowd {
    let Agent { role, device } = agent::read(user_agent);
    let (role, kind, os) = match role {
        Role::Missing => return Crowd { agent: "", is_people: false },
        Role::Reader | Role::Mail | Role::Phone => (Role::Reader, device.kind, &*device.os),
        role => (role, DeviceType::Unknown, ""),
    };
    // The narrowest that fits: of a kind and a system, of a kind, of neither.
    let fits = [(kind, os), (kind, ""), (DeviceType::Unknown, "")].into_iter().find_map(|(kind, os)| {
        CROWDS.iter().find(|row| row.role == role && row.kind == kind && row.os == os)
    });
    let is_people = matches!(role, Role::Reader | Role::ImageProxy | Role::NativeApp);
    Crowd { agent: fits.map_or("", |row| row.agent), is_people }
}

/// Reads a crowd's text back.
pub(crate) fn read(text: &str) -> Option<Agent> {
    let row = CROWDS.iter().find(|row| row.agent == text)?;
    let trust = if row.kind == DeviceType::Unknown { Trust::None } else { Trust::Low };
    let device = Device { kind: row.kind, os: row.os.into(), trust, ..Device::hidden("") };
    Some(Agent { role: row.role, device })
}

struct Row {
    agent: &'static str,
    role: Role,
    kind: DeviceType,
    os: &'static str,
}

const CROWDS: [Row; 21] = [
    people("crowd:phone-ios", DeviceType::Phone, "ios"),
    people("crowd:phone-android", DeviceType::Phone, "android"),
    people("crowd:phone", DeviceType::Phone, ""),
    people("crowd:tablet-ios", DeviceType::Tablet, "ios"),
    people("crowd:tablet-android", DeviceType::Tablet, "android"),
    people("crowd:tablet", DeviceType::Tablet, ""),
    people("crowd:desktop-windows", DeviceType::Desktop, "windows"),
    people("crowd:desktop-macos", DeviceType::Desktop, "macos"),
    people("crowd:desktop", DeviceType::Desktop, ""),
    people("crowd:reader", DeviceType::Unknown, ""),
    other("crowd:image-proxy", Role::ImageProxy),
    other("crowd:native-app", Role::NativeApp),
    other("crowd:unshaped", Role::Unshaped),
    other("crowd:bare", Role::Bare),
    other("crowd:gmail-prefetch", Role::GmailPrefetch),
    other("crowd:scanner", Role::Scanner),
    other("crowd:preview", Role::Preview),
    other("crowd:bot", Role::Bot),
    other("crowd:library", Role::Library),
    other("crowd:crawler", Role::ListedCrawler),
    other("crowd:compatible", Role::Compatible),
];

const fn people(agent: &'static str, kind: DeviceType, os: &'static str) -> Row {
    Row { agent, role: Role::Reader, kind, os }
}

const fn other(agent: &'static str, role: Role) -> Row {
    Row { agent, role, kind: DeviceType::Unknown, os: "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_its_own_crowd() {
        for row in &CROWDS {
            assert_eq!(crowd(row.agent).agent, row.agent);
        }
    }

    #[test]
    fn what_few_people_have_is_left_out() {
        for (user_agent, agent, is_people) in [
            (
                "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007; de-DE) AppleWebKit/537.36 (KHTML, \
                 like Gecko) Chrome/120.0.6099.43 Mobile Safari/537.36",
                "crowd:phone-android",
                true,
            ),
            ("Mozilla/5.0 (iPad; CPU OS 17_2 like Mac OS X) AppleWebKit/605.1.15", "crowd:tablet-ios", true),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0", "crowd:desktop", true),
            (
                "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
                "crowd:image-proxy",
                true,
            ),
            ("Mozilla/5.0", "crowd:bare", false),
            ("curl/8.5.0", "crowd:library", false),
            ("jane-doe's reader", "crowd:unshaped", false),
            ("jane-doe's reader (iOS 17)", "crowd:native-app", true),
            ("", "", false),
        ] {
            assert_eq!(crowd(user_agent), Crowd { agent, is_people }, "{user_agent}");
        }
    }
}
