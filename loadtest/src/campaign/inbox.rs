//! Inboxes: whose mail is fetched by what, and who reads.

use event::Kind;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A request for something of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Open or click.
    pub kind: Kind,
    /// The link, from 1; 0 for the pixel.
    pub link: u32,
    /// The agent.
    pub user_agent: &'static str,
    /// The address, as a number.
    pub address: u32,
    /// How long after the message was sent.
    pub after_ms: i64,
}

/// One recipient: what is fetched for them, in order, and what they did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbox {
    /// What comes to the edge.
    pub visits: Vec<Visit>,
    /// The person read the message.
    pub reads: bool,
    /// And followed a link.
    pub clicks: bool,
    /// Whether the person reads cannot be seen: the images were fetched before.
    pub is_hidden: bool,
}

/// Links of the message.
const LINKS: u32 = 6;
/// How many read, and how many of those click.
const READS: f64 = 0.32;
const CLICKS: f64 = 0.15;

/// First three numbers of addresses, the last one is drawn.
const APPLE: [u8; 3] = [104, 28, 28];
const GOOGLE: [u8; 3] = [66, 249, 84];
const YAHOO: [u8; 3] = [66, 196, 81];
const CLOUD: [u8; 3] = [52, 4, 17];

const BARE: &str = "Mozilla/5.0";
const GMAIL_PREFETCH: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0";
const GMAIL: &str =
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
const YAHOO_PROXY: &str = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html";
const OUTLOOK: &str = "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.12026; Pro)";
const PREVIEW: &str = "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)";
/// Mail security without a name looks like this, too.
const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/126.0.0.0 Safari/537.36";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Version/26.0 Mobile/15E148 Safari/604.1";
const ANDROID: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 \
     Mobile Safari/537.36";

/// Vendors of mail security that their networks name: Microsoft's EOP, Barracuda, Proofpoint.
const SCANNERS: [[u8; 3]; 3] = [[40, 92, 3], [209, 222, 82], [148, 163, 150]];

/// Everyone's inbox, the same for the same seed.
pub fn inboxes(seed: u64, recipients: u32) -> Vec<Inbox> {
    let mut rng = SmallRng::seed_from_u64(seed);
    (0..recipients).map(|_| inbox(&mut rng)).collect()
}

fn inbox(rng: &mut SmallRng) -> Inbox {
    let reads = rng.random_bool(READS);
    let clicks = reads && rng.random_bool(CLICKS);
    let mut inbox = Inbox { visits: Vec::new(), reads, clicks, is_hidden: false };
    let home = [86, 128 + rng.random_range(0..64), rng.random()];
    let (opens_with, from) = match rng.random_range(0..100) {
        // Apple's Mail Privacy Protection: fetched once on arrival, whether anyone reads or not.
        0..40 => {
            inbox.is_hidden = true;
            inbox.fetch(rng, BARE, APPLE, seconds(30));
            (None, home)
        }
        40..68 => {
            if rng.random_bool(0.04) {
                inbox.fetch(rng, GMAIL_PREFETCH, GOOGLE, seconds(25));
            }
            (Some(GMAIL), GOOGLE)
        }
        68..73 => (Some(YAHOO_PROXY), YAHOO),
        73..85 => {
            match rng.random_range(0..100) {
                // By its network, with a browser's agent.
                0..60 => {
                    let network = SCANNERS[rng.random_range(0..SCANNERS.len())];
                    inbox.scan(rng, network);
                }
                // From a cloud, which says little on an open: found by its sweep.
                60..85 => inbox.scan(rng, CLOUD),
                _ => (),
            }
            (Some(OUTLOOK), home)
        }
        85..93 => (Some(ANDROID), home),
        _ => (Some(IPHONE), home),
    };
    if let (true, Some(agent)) = (reads, opens_with) {
        let first = rng.random_range(minutes(3)..minutes(60 * 30));
        inbox.fetch(rng, agent, from, first);
        if rng.random_bool(0.3) {
            inbox.fetch(rng, agent, from, first + minutes(90));
        }
    }
    if clicks {
        let browser = if matches!(opens_with, None | Some(IPHONE)) { IPHONE } else { CHROME };
        let link = rng.random_range(1..=LINKS);
        let after_ms = rng.random_range(minutes(5)..minutes(60 * 30));
        inbox.follow(rng, browser, home, link, after_ms);
        if rng.random_bool(0.25) {
            inbox.follow(rng, browser, home, link % LINKS + 1, after_ms + seconds(40));
        }
        if rng.random_bool(0.05) {
            inbox.follow(rng, PREVIEW, CLOUD, link, after_ms + minutes(2));
        }
    }
    inbox
}

impl Inbox {
    fn fetch(&mut self, rng: &mut SmallRng, user_agent: &'static str, from: [u8; 3], after_ms: i64) {
        self.visit(rng, Kind::Open, 0, user_agent, from, after_ms);
    }

    fn follow(
        &mut self,
        rng: &mut SmallRng,
        user_agent: &'static str,
        from: [u8; 3],
        link: u32,
        after_ms: i64,
    ) {
        self.visit(rng, Kind::Click, link, user_agent, from, after_ms);
    }

    /// Fetches the pixel and follows every link, as soon as the message is there.
    fn scan(&mut self, rng: &mut SmallRng, from: [u8; 3]) {
        self.fetch(rng, CHROME, from, seconds(8));
        for link in 1..=LINKS {
            self.follow(rng, CHROME, from, link, seconds(9));
        }
    }

    fn visit(
        &mut self,
        rng: &mut SmallRng,
        kind: Kind,
        link: u32,
        user_agent: &'static str,
        [a, b, c]: [u8; 3],
        after_ms: i64,
    ) {
        let address = u32::from_be_bytes([a, b, c, rng.random_range(1..255)]);
        self.visits.push(Visit { kind, link, user_agent, address, after_ms });
    }
}

fn seconds(count: i64) -> i64 {
    count * 1_000
}

fn minutes(count: i64) -> i64 {
    count * 60_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_people_and_a_naive_count_is_far_off() {
        let all = inboxes(5, 4_000);
        assert_eq!(all, inboxes(5, 4_000));
        assert_ne!(all, inboxes(6, 4_000));
        let share =
            |holds: fn(&Inbox) -> bool| all.iter().filter(|inbox| holds(inbox)).count() as f64 / 4_000.0;
        assert!((0.28..0.36).contains(&share(|inbox| inbox.reads)));
        assert!(share(|inbox| inbox.visits.iter().any(|visit| visit.kind == Kind::Open)) > 0.55);
        assert!(
            share(|inbox| inbox.clicks) < 0.1 && share(|inbox| inbox.visits.len() > LINKS as usize) > 0.08
        );
    }
}
