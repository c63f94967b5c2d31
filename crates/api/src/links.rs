//! `POST /v1/links` and `POST /v1/messages/instrument`.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use event::{Kind, Mode, Position, Region};
use link::{InstrumentError, Keys, Link, LinkReport, MessageSpec, MintError};
use serde::{Deserialize, Serialize};
use tracing::error;
use utoipa::ToSchema;

use crate::body::Parsed;
use crate::fault::{Fault, Unavailable};
use crate::guard::{Place, Workspace};
use crate::serve::Api;

/// A link to mint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MintRequest {
    kind: HitKind,
    /// The recipient, as you name it. Only a keyed hash goes into the link, and nothing in the modes anonymous and off.
    recipient: Option<String>,
    /// The message (campaign, template): a number, or a name of which a hash goes into the link.
    #[schema(min_length = 1)]
    message: String,
    /// Where a click or download goes: an absolute http or https URL. None for an open.
    target: Option<String>,
    /// The link's number in the message; 1 when left out, and 0 for an open.
    number: Option<u32>,
    /// The link is hidden: whoever follows it is a machine.
    #[serde(default)]
    trap: bool,
    /// Where the pixel of an open stands.
    position: Option<PositionName>,
    #[serde(default)]
    mode: ModeName,
    #[serde(default)]
    region: RegionName,
    /// When the message is sent, RFC 3339; now when left out.
    #[schema(format = DateTime)]
    sent_at: Option<String>,
}

/// What a link says when it is followed.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum HitKind {
    Open,
    Click,
    Download,
}

/// Where in the message a pixel stands.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PositionName {
    Top,
    Bottom,
}

/// How much may be recorded: all that is documented; counts per message and hour that tell no person from another;
/// the day on which a recipient opened something; nothing.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    #[default]
    Full,
    Anonymous,
    Date,
    Off,
}

/// Where the recipient is, as far as you know: in the EU, the EEA or the UK; elsewhere; not known. No send time is
/// computed but for `other`.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RegionName {
    Eu,
    Other,
    #[default]
    Unknown,
}

/// A minted link.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Minted {
    /// The tracked URL.
    url: String,
}

/// Mints one tracked URL.
#[utoipa::path(post, path = "/v1/links", operation_id = "mint_link", request_body = MintRequest,
    responses((status = 200, description = "The tracked URL", body = Minted)))]
pub(crate) async fn mint(
    State(api): State<Arc<Api>>,
    Extension(Workspace(workspace)): Extension<Workspace>,
    Parsed(request): Parsed<MintRequest>,
) -> Result<Json<Minted>, Fault> {
    let keys = api.backing.keys.load();
    let MintRequest { recipient, message, sent_at, mode, region, .. } = &request;
    let about = About { recipient, message, sent_at, mode: *mode, region: *region };
    let kind = request.kind.into();
    let position = match request.position {
        None => Position::Unspecified,
        Some(_) if kind != Kind::Open => {
            return Err(Fault::field("position", "expected none: only opens have one"));
        }
        Some(PositionName::Top) => Position::Top,
        Some(PositionName::Bottom) => Position::Bottom,
    };
    let link = Link {
        kind,
        target: request.target.clone().unwrap_or_default(),
        link: request.number.unwrap_or(u32::from(kind != Kind::Open)),
        trap: request.trap,
        position,
        ..about.link(&keys, workspace)?
    };
    let url = api.backing.site.url(&keys, &link).map_err(|why| refused(&why, "target"))?;
    Ok(Json(Minted { url }))
}

/// A message to instrument.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstrumentRequest {
    /// The message's HTML.
    html: String,
    /// The recipient, as you name it. Only a keyed hash goes into links, and nothing in the modes anonymous and off.
    recipient: Option<String>,
    /// The message (campaign, template): a number, or a name of which a hash goes into the links.
    #[schema(min_length = 1)]
    message: String,
    #[serde(default)]
    mode: ModeName,
    #[serde(default)]
    region: RegionName,
    /// When the message is sent, RFC 3339; now when left out.
    #[schema(format = DateTime)]
    sent_at: Option<String>,
    /// Whether to put in pixels.
    #[serde(default = "yes")]
    #[schema(default = true)]
    opens: bool,
    /// Whether to rewrite links.
    #[serde(default = "yes")]
    #[schema(default = true)]
    clicks: bool,
    /// Where a hidden link goes that only machines follow; none without.
    trap: Option<String>,
    /// Query parameters for every link.
    #[serde(default)]
    #[schema(max_items = 32)]
    utm: Vec<Utm>,
}

/// The most parameters that are added to each link.
const UTM_MAX: usize = 32;

/// A query parameter, such as utm_source=news. One that a link has already stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Utm {
    name: String,
    value: String,
}

/// A tracked message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Instrumented {
    /// The HTML with its links rewritten and its pixels in place.
    html: String,
    /// The rewritten links, in document order.
    links: Vec<TrackedLink>,
    /// What may go wrong in the wild.
    warnings: Vec<String>,
}

/// What became of one link.
#[derive(Debug, Serialize, ToSchema)]
struct TrackedLink {
    /// From 1.
    number: u32,
    kind: HitKind,
    /// Where it goes.
    target: String,
    /// What stands in the message now.
    url: String,
}

/// Rewrites a message's links, puts in its pixels, and says what may go wrong in the wild.
#[utoipa::path(post, path = "/v1/messages/instrument", operation_id = "instrument_message",
    request_body = InstrumentRequest,
    responses((status = 200, description = "The message to send", body = Instrumented)))]
pub(crate) async fn instrument(
    State(api): State<Arc<Api>>,
    Extension(Workspace(workspace)): Extension<Workspace>,
    Extension(place): Extension<Place>,
    Parsed(request): Parsed<InstrumentRequest>,
) -> Result<Json<Instrumented>, Fault> {
    let keys = api.backing.keys.load_full();
    let InstrumentRequest { recipient, message, sent_at, mode, region, .. } = &request;
    let about = About { recipient, message, sent_at, mode: *mode, region: *region };
    let Link { message, recipient, sent_at_ms, mode, region, .. } = about.link(&keys, workspace)?;
    if request.utm.len() > UTM_MAX {
        return Err(Fault::field("utm", format!("expected at most {UTM_MAX}")));
    }
    let spec = MessageSpec {
        workspace,
        message,
        recipient,
        sent_at_ms,
        mode,
        region,
        opens: request.opens,
        clicks: request.clicks,
        trap: request.trap,
        utm: request.utm.into_iter().map(|Utm { name, value }| (name, value)).collect(),
        ..MessageSpec::default()
    };
    let html = request.html;
    // A large message takes tens of milliseconds, in which others would wait.
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        link::instrument(&html, &keys, &api.backing.site, &spec)
    });
    let done = work.await.map_err(|cause| {
        error!(%cause, "instrumenting a message broke off");
        Unavailable
    })?;
    let link::Instrumented { html, links, warnings } = done.map_err(|why| not_instrumented(&why))?;
    let links = links.into_iter().map(TrackedLink::from).collect();
    Ok(Json(Instrumented { html, links, warnings }))
}

/// Whose link it is.
struct About<'a> {
    recipient: &'a Option<String>,
    message: &'a str,
    sent_at: &'a Option<String>,
    mode: ModeName,
    region: RegionName,
}

impl About<'_> {
    fn link(&self, keys: &Keys, workspace: u32) -> Result<Link, Fault> {
        let mode = match self.mode {
            ModeName::Full => Mode::Full,
            ModeName::Anonymous => Mode::Anonymous,
            ModeName::Date => Mode::Date,
            ModeName::Off => Mode::Off,
        };
        let recipient = match self.recipient.as_deref() {
            None | Some("") if !link::names_recipient(mode) => 0,
            None | Some("") => {
                return Err(Fault::field(
                    "recipient",
                    "expected one: only the modes anonymous and off go without",
                ));
            }
            Some(id) => keys.recipient(workspace, id),
        };
        if self.message.is_empty() {
            return Err(Fault::field("message", "expected a number or a name"));
        }
        let sent_at = match self.sent_at {
            None => jiff::Timestamp::now(),
            Some(text) => text.parse().map_err(|_| Fault::field("sent_at", "expected RFC 3339"))?,
        };
        Ok(Link {
            workspace,
            message: keys.message(workspace, self.message),
            recipient,
            sent_at_ms: sent_at.as_millisecond(),
            mode,
            region: match self.region {
                RegionName::Eu => Region::Eu,
                RegionName::Other => Region::Other,
                RegionName::Unknown => Region::Unspecified,
            },
            ..Link::default()
        })
    }
}

impl From<HitKind> for Kind {
    fn from(kind: HitKind) -> Kind {
        match kind {
            HitKind::Open => Kind::Open,
            HitKind::Click => Kind::Click,
            HitKind::Download => Kind::Download,
        }
    }
}

impl From<LinkReport> for TrackedLink {
    fn from(report: LinkReport) -> TrackedLink {
        let LinkReport { number, kind, target, url } = report;
        let kind = if kind == Kind::Download { HitKind::Download } else { HitKind::Click };
        TrackedLink { number, kind, target, url }
    }
}

/// A target may hold an address or a secret: what is wrong with it is said without it.
fn refused(why: &MintError, field: &'static str) -> Fault {
    match why {
        MintError::Target { problem, .. } => Fault::field(field, format!("the URL {problem}")),
        MintError::OpenTarget { .. } => Fault::field(field, "expected none: an open goes nowhere"),
        MintError::TooLong { what, bytes, bytes_max, .. } => Fault::field(
            field,
            format!("the tracked {what} has {bytes} bytes, expected at most {bytes_max}: shorten the target"),
        ),
        MintError::SentAt { .. } => Fault::field("sent_at", "expected a time after 1970"),
        MintError::Kind { .. } => Fault::field("kind", "expected open, click or download"),
    }
}

fn not_instrumented(why: &InstrumentError) -> Fault {
    let numbered = |number: &u32, text: &str| Fault::field("html", format!("link {number}: {text}"));
    match why {
        InstrumentError::Mark { link, .. } => {
            numbered(link, "data-mailbeacon is neither off, click nor download")
        }
        InstrumentError::Link(why @ (MintError::Target { link, .. } | MintError::TooLong { link, .. })) => {
            let text = refused(why, "html").message;
            numbered(link, &format!("{text}; mark it data-mailbeacon=\"off\" to leave it as it is"))
        }
        InstrumentError::Trap(why) => refused(why, "trap"),
        InstrumentError::Link(why) | InstrumentError::Message(why) => refused(why, "html"),
        InstrumentError::UtmName { at } => Fault::field(format!("utm[{at}].name"), "expected a name"),
        InstrumentError::Size { .. } | InstrumentError::Html { .. } | InstrumentError::Links => {
            Fault::field("html", why.to_string())
        }
    }
}

fn yes() -> bool {
    true
}
