//! Writes one batch exactly once: what to do next, and what an answer means. Does nothing itself.
//!
//! Each month's block goes under a token that names the exact range. When it is not known what became of it, by a
//! lost reply, a crash of ours or of the server, the next step is to look; then:
//!
//! * nothing is there: send it, under the same token. Then look again, since a server that was killed may have noted
//!   the token without the rows. Rows missing then go under another token, one that fills no views, because the same
//!   insert sent again has passed its rows on to the views; a view missing then is filled by itself.
//! * it is there, a view lacks it, and the server is the one it was sent to: send it again. That changes nothing where
//!   it is and completes views that may still be filling, under their own tokens. Then look.
//! * it is there, from a server that was started since: the end of its log of tokens may be lost, so it is not sent
//!   again. Once nothing of it is running any more, the views that lack it are filled.
//!
//! An insert costs ClickHouse as much as some thousands of rows. So the rows of several parts go in one, under a token of
//! its own that each part's intent names. When it is not known what became of that insert, every part goes on alone, from
//! the look above. What is not there is sent under the group's token by whoever comes first, and so nothing else can
//! come in under it any more, however late: to the others the token is one that the server knows without their rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use store::{Block, Cause, InsertError, StoreError, Traces};

use crate::intent::Group;
use crate::source::Part;

/// A batch that is being written.
#[derive(Debug)]
pub struct Writing {
    /// Where it comes from.
    pub part: Part,
    /// First offset.
    pub from: u64,
    /// Past the last offset.
    pub to: u64,
    /// What is left of it.
    pub blocks: Vec<Sealed>,
    /// When the server was started that the first attempt went to, Unix seconds, as the intent says.
    pub server_started: i64,
    /// The intent says that rows go under tokens that fill no views.
    pub rows: bool,
    /// Rows of its month go under the token of several parts, as the intent says.
    pub group: Option<Group>,
    /// Months that are stored, here or by an earlier owner.
    pub stored: Vec<u32>,
    /// Why the server does not take a block, of which it has nothing.
    pub refused: Option<String>,
    /// Blocks of which it could not be made sure that the views have them.
    pub unverified: u64,
    /// An attempt may have been made, here or by an earlier owner: look before sending.
    uncertain: bool,
    /// When it was last known how things stand: the intent was committed, or the server told.
    known_at: Instant,
    step: Step,
    /// How many tokens the server turned out to know without their rows.
    burnt: u32,
    /// How often each view of the block was filled.
    fills: BTreeMap<String, u32>,
    /// The server said that it does not take the block.
    rejection: Option<String>,
    /// The server that the intent has to name, once more perhaps, before anything is sent.
    rename: Option<i64>,
}

/// Rows of one month, finished.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The month.
    pub month: u32,
    /// The block, as every attempt sends it.
    pub block: Arc<Block>,
}

#[derive(Debug, PartialEq)]
enum Step {
    Look,
    Send,
    Check,
    Fill(Vec<String>),
}

/// What a batch that is being written needs next.
#[derive(Debug)]
pub enum Next {
    /// The intent must name this server, and these months as stored, before more is sent.
    Rename(i64),
    /// What does the server have of the batch's rows of this month?
    Look(u32, Tokens),
    /// To be inserted under the token.
    Insert(String, Arc<Block>),
    /// To be inserted with others.
    Join(Joining),
    /// To be filled under the token: a month's rows into a view.
    Fill(u32, String, String),
    /// All is stored, or known to be rejected.
    Nothing,
}

/// A block that goes in one insert with those of other parts.
#[derive(Debug)]
pub struct Joining {
    /// The insert.
    pub group: Group,
    /// The block.
    pub block: Arc<Block>,
    /// From then on it must be looked at before it is sent.
    pub until: Instant,
}

/// Under which tokens rows of a batch may be on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// What those of all its own inserts and fillings begin with.
    pub own: String,
    /// That of the insert with other parts'; empty when there was none.
    pub group: String,
}

/// Why a block is not known to be stored.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The server did not take it, or did not say.
    #[error(transparent)]
    Insert(#[from] InsertError),
    /// The server could not be asked what it has.
    #[error("cannot look for a batch: {0}")]
    Ask(#[from] StoreError),
}

impl WriteError {
    /// The label of a metric.
    pub fn class(&self) -> &'static str {
        match self {
            WriteError::Insert(InsertError::Reject(_)) => "reject",
            WriteError::Insert(InsertError::Fatal(_)) => "fatal",
            _ => "retry",
        }
    }
}

/// How far two readings of a server's start may lie apart: it is worked out from an uptime in whole seconds. A server
/// that is back sooner was killed, and not its machine: then the log of tokens is whole.
const START_TOLERANCE_S: i64 = 2;
/// Tokens that are tried in place of burnt ones. Rows that are still not seen then have expired already.
const BURNT_MAX: u32 = 10;
/// How often a view is filled that still lacks the batch afterwards.
const FILLS_MAX: u32 = 10;
/// What was known longer ago than this is looked at again before anything is sent: another owner may have taken over,
/// or the server may be another one. Less than a server takes to start, and far more than it takes this process from
/// an answer to the next request.
const KNOWN_FRESH: Duration = Duration::from_millis(300);

impl Writing {
    /// A batch whose intent was committed at `intended_at`; `again` when an earlier owner intended the same.
    pub fn new(
        part: Part,
        range: (u64, u64),
        blocks: Vec<Sealed>,
        server_started: i64,
        again: bool,
        intended_at: Instant,
    ) -> Self {
        let step = if again { Step::Look } else { Step::Send };
        Writing {
            part,
            from: range.0,
            to: range.1,
            blocks,
            server_started,
            rows: false,
            group: None,
            stored: Vec::new(),
            refused: None,
            unverified: 0,
            uncertain: again,
            known_at: intended_at,
            step,
            burnt: 0,
            fills: BTreeMap::new(),
            rejection: None,
            rename: None,
        }
    }

    /// What to do now.
    pub fn next(&mut self, now: Instant) -> Next {
        let Some(sealed) = self.blocks.last() else { return Next::Nothing };
        let acts = matches!(self.step, Step::Send | Step::Fill(_));
        if acts && now.duration_since(self.known_at) > KNOWN_FRESH {
            (self.uncertain, self.step, self.rename) = (true, Step::Look, None);
        }
        if let Some(started) = self.rename {
            return Next::Rename(started);
        }
        let Sealed { month, block } = sealed;
        match &self.step {
            Step::Look | Step::Check => Next::Look(*month, self.tokens(sealed)),
            Step::Send => match self.group_of(sealed) {
                Some(group) if !self.uncertain && !self.will_be_rows() => {
                    Next::Join(Joining { group, block: block.clone(), until: self.known_at + KNOWN_FRESH })
                }
                _ => Next::Insert(self.token(sealed), block.clone()),
            },
            Step::Fill(views) => match views.last() {
                Some(view) => {
                    let token = format!("{}/view/{view}/{}", self.name(sealed), self.filled_before(view));
                    Next::Fill(*month, view.clone(), token)
                }
                None => Next::Look(*month, self.tokens(sealed)),
            },
        }
    }

    /// What the intent has to say of the rows: under which tokens they go from here on.
    pub fn will_be_rows(&self) -> bool {
        self.rows || self.burnt > 0
    }

    /// The intent names the server now. What was seen there is no younger for that: while the commit took its time, the
    /// server may have become another one.
    pub fn renamed(&mut self) {
        if let Some(started) = self.rename.take() {
            self.server_started = started;
            self.rows = self.will_be_rows();
        }
    }

    /// What the server has of the block. Returns whether it has to be looked at again later, since what was sent to a
    /// server that started in the meantime is still under way.
    pub fn looked(&mut self, traces: Traces, now: Instant) -> bool {
        self.known_at = now;
        let restarted = (traces.started - self.server_started).abs() > START_TOLERANCE_S;
        let there = traces.rows > 0;
        if (restarted || traces.ahead) && traces.running && self.step == Step::Look {
            return true;
        }
        // When it has the rows, it is a view that does not take them: then it stands still until that is mended.
        self.refused = self.rejection.take().filter(|_| !there);
        match self.step {
            Step::Look if there && restarted => self.fill(traces.lacking),
            Step::Look if there && traces.lacking.is_empty() => self.block_done(),
            Step::Look if there => self.step = Step::Send,
            Step::Look => {
                // What is sent from here on goes to this server: the next owner must not take it for an earlier one.
                self.rename = restarted.then_some(traces.started);
                // A view that has it must not get it again: its log of tokens may be lost as well.
                self.burnt = self.burnt.max(u32::from(traces.ahead));
                self.step = Step::Send;
                self.tell_rows();
            }
            // Rows that were sent again and again, and that nobody sees, have expired.
            _ if !there && self.burnt == BURNT_MAX => self.block_done(),
            _ if !there => {
                self.burnt += 1;
                self.step = Step::Send;
                self.tell_rows();
            }
            _ => self.fill(traces.lacking),
        }
        false
    }

    /// The next owner must not send the rows under the first token again: they may be there under another.
    fn tell_rows(&mut self) {
        if self.will_be_rows() != self.rows {
            self.rename = self.rename.or(Some(self.server_started));
        }
    }

    /// The server took the block.
    pub fn inserted(&mut self) {
        match self.uncertain {
            true => self.step = Step::Check,
            false => self.block_done(),
        }
    }

    /// The server filled a view.
    pub fn filled(&mut self, now: Instant) {
        if let Step::Fill(views) = &mut self.step
            && let Some(view) = views.pop()
        {
            self.known_at = now;
            *self.fills.entry(view).or_default() += 1;
            if views.is_empty() {
                self.step = Step::Check;
            }
        }
    }

    /// The last thing that was asked for failed: the next thing is to look.
    pub fn failed(&mut self, cause: &WriteError) {
        if let (WriteError::Insert(InsertError::Reject(why)), Step::Send) = (cause, &self.step) {
            self.rejection = Some(rejected(why));
        }
        (self.uncertain, self.step) = (true, Step::Look);
    }

    fn fill(&mut self, lacking: Vec<String>) {
        if lacking.is_empty() {
            return self.block_done();
        }
        if lacking.iter().any(|view| self.filled_before(view) == FILLS_MAX) {
            self.unverified += 1;
            return self.block_done();
        }
        // Only the owner may: that is what the commit makes sure of.
        self.rename = Some(self.server_started);
        self.step = Step::Fill(lacking);
    }

    fn filled_before(&self, view: &str) -> u32 {
        self.fills.get(view).copied().unwrap_or(0)
    }

    fn block_done(&mut self) {
        self.stored.extend(self.blocks.pop().map(|sealed| sealed.month));
        self.burnt = 0;
        self.fills.clear();
        self.step = if self.uncertain { Step::Look } else { Step::Send };
    }

    /// Names exactly what is sent: the same token with other rows would drop them in silence. A group's may be known with
    /// other rows: what is sent under it alone is always looked for.
    fn token(&self, sealed: &Sealed) -> String {
        match (self.burnt.max(u32::from(self.rows)), self.group_of(sealed)) {
            (0, Some(group)) => group.token(),
            (0, None) => self.name(sealed),
            (burnt, _) => format!("{}/rows/{burnt}", self.name(sealed)),
        }
    }

    fn tokens(&self, sealed: &Sealed) -> Tokens {
        Tokens {
            own: self.name(sealed),
            group: self.group_of(sealed).map(|group| group.token()).unwrap_or_default(),
        }
    }

    /// The insert with other parts that the rows are, or were, meant for.
    fn group_of(&self, sealed: &Sealed) -> Option<Group> {
        self.group.filter(|group| group.month == sealed.month)
    }

    fn name(&self, sealed: &Sealed) -> String {
        let Writing { part, from, to, .. } = self;
        format!("{}/{}/{from}-{to}/{}", part.topic, part.number, sealed.month)
    }
}

/// Why a row is set aside.
pub fn rejected(cause: &Cause) -> String {
    format!("rejected by clickhouse: {}", cause.text)
}

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Waits that double, with jitter: a fleet that failed together does not come back together.
#[derive(Debug)]
pub struct Backoff {
    wait: Duration,
    jitter: SmallRng,
}

impl Backoff {
    /// Starts small. The seed is for the jitter.
    pub fn new(seed: u64) -> Self {
        Backoff { wait: BACKOFF_MIN, jitter: SmallRng::seed_from_u64(seed) }
    }

    /// How long to wait now.
    pub fn next(&mut self) -> Duration {
        let wait = self.wait.mul_f64(self.jitter.random_range(0.5..1.0));
        self.wait = (self.wait * 2).min(BACKOFF_MAX);
        wait
    }

    /// Starts small again.
    pub fn reset(&mut self) {
        self.wait = BACKOFF_MIN;
    }
}
