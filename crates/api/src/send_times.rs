//! `GET /v1/recipients/{recipient}/send-time` and `POST /v1/send-times`.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::body::Parsed;
use crate::fault::{Fault, Unavailable};
use crate::guard::Workspace;
use crate::serve::Api;

/// The most recipients that may be asked about in one request.
pub const RECIPIENTS_MAX: usize = 100;

/// Recommends for recipients of a workspace, by their keys, in their order.
pub type Ask = Box<dyn Fn(u32, Vec<u64>, Wanted) -> Asked + std::marker::Send + Sync>;
/// The answer to come.
pub type Asked = Pin<Box<dyn Future<Output = Result<Vec<Advice>, Unavailable>> + std::marker::Send>>;

/// What is asked for, checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// For which days.
    pub days: Days,
    /// Hours of the recipient's clock in which nothing is sent: the first, and the one after the last.
    pub quiet: Option<[u8; 2]>,
    /// Key of the message for whose mails an instant is wanted.
    pub message: Option<u64>,
    /// Not before, in Unix milliseconds; None for now.
    pub after_ms: Option<i64>,
    /// Share of the mails that go out at an hour drawn evenly.
    pub explore: f64,
}

/// Days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Days {
    /// All.
    #[default]
    Any,
    /// Monday to Friday.
    Weekday,
    /// Saturday and Sunday.
    Weekend,
}

/// What may be asked for beside windows.
#[derive(Debug, Default, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wishes {
    /// For which days.
    #[serde(default)]
    days: Days,
    /// Hours of the recipient's clock in which nothing is sent, such as 21-8.
    quiet: Option<String>,
    /// Say when to send a mail of this message, as you name it when you mint links.
    message: Option<String>,
    /// Not before this time, RFC 3339. Now, when not given.
    after: Option<String>,
    /// Share of the mails that go out at an hour drawn evenly, so that other hours are seen too.
    #[serde(default)]
    #[schema(minimum = 0.0, maximum = 0.5)]
    explore: f64,
}

impl Wishes {
    fn check(&self, keys: &link::Keys, workspace: u32) -> Result<Wanted, Fault> {
        let quiet =
            match &self.quiet {
                None => None,
                Some(hours) => Some(quiet(hours).ok_or_else(|| {
                    Fault::field("quiet", "expected two different hours, 0 to 23, as in 21-8")
                })?),
            };
        let after_ms = match &self.after {
            None => None,
            Some(time) => Some(
                time.parse::<jiff::Timestamp>()
                    .map_err(|_| Fault::field("after", "expected a time as of RFC 3339"))?
                    .as_millisecond(),
            ),
        };
        if !(0.0..=0.5).contains(&self.explore) {
            return Err(Fault::field("explore", "expected a share of 0 to 0.5"));
        }
        if self.message.is_none() && (self.explore > 0.0 || after_ms.is_some()) {
            return Err(Fault::field("message", "is needed to say when its mails are to be sent"));
        }
        let message = self.message.as_ref().map(|message| keys.message(workspace, message));
        Ok(Wanted { days: self.days, quiet, message, after_ms, explore: self.explore })
    }
}

/// What may stand in a query. What stood there is not repeated.
const EXPECTED: &str =
    "expected days (any, weekday or weekend), quiet, message, after and explore, each once at most";

fn quiet(hours: &str) -> Option<[u8; 2]> {
    let (from, until) = hours.split_once('-')?;
    let hour = |text: &str| text.trim().parse().ok().filter(|hour| *hour < 24);
    Some([hour(from)?, hour(until)?]).filter(|[from, until]| from != until)
}

/// When a mail leaves.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Plan {
    /// The instant, RFC 3339 in UTC: spread evenly over the window, the same each time it is asked for.
    pub send_at: String,
    /// Whether its hour was drawn instead of recommended.
    pub explored: bool,
    /// How likely this mail was to go out in that hour.
    pub propensity: f64,
}

/// What is known of the best time to write to a recipient.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Advice {
    /// Windows of the recipient's local day, the best first. None when refused.
    pub windows: Vec<Window>,
    /// When to send the mail, where a message was named.
    #[serde(flatten)]
    pub plan: Option<Plan>,
    /// Why nothing is recommended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// Why nothing is recommended.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Refused {
    /// One word: eu, region_unknown, time_zone_unknown, not_enough_events, all_quiet, withdrawn, unknown_recipient.
    pub reason: &'static str,
    /// For people.
    pub message: &'static str,
}

/// A window of the local day.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Window {
    /// The days it is for: weekday, weekend, or none for any.
    pub weekday: Option<&'static str>,
    /// First hour, 0 to 23.
    pub start_hour: u8,
    /// The hour after the last one, 0 to 23; not above `start_hour` when the window passes midnight.
    pub end_hour: u8,
    /// IANA time zone of both.
    pub time_zone: String,
    /// Probability that a mail sent in the window is opened within an hour. None where sends are not told.
    pub p_open_1h: Option<f64>,
    /// Opens within an hour over those that the sender's usual hours give.
    pub lift: f64,
    /// Probability that the window beats the hour `beats_hour`.
    pub confidence: f64,
    /// The hour that it is compared with: the best one of people like them, or the sender's usual one.
    pub beats_hour: u8,
    /// Acts of the recipient around the window's best hour, older ones weighing less.
    pub observed: f64,
    /// Acts expected there of people like them, at the same exposure.
    pub expected: f64,
    /// Whose habit spoke: recipient, domain, zone or workspace.
    pub level: &'static str,
    /// The evidence in words.
    pub reasons: Vec<String>,
}

/// A recipient's.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SendTime {
    /// As it was asked about.
    recipient: String,
    #[serde(flatten)]
    advice: Advice,
}

/// When to write to a recipient, or why there is no answer. Never for people in the EU, the EEA or the UK.
#[utoipa::path(get, path = "/v1/recipients/{recipient}/send-time", operation_id = "send_time",
    params(("recipient" = String, Path, description = "The recipient, as you name it when you mint links"), Wishes),
    responses((status = 200, description = "Windows, or the reason why there are none", body = SendTime)))]
pub(crate) async fn one(
    State(api): State<Arc<Api>>,
    Extension(Workspace(workspace)): Extension<Workspace>,
    path: Result<Path<String>, PathRejection>,
    wishes: Result<Query<Wishes>, QueryRejection>,
) -> Result<Json<SendTime>, Fault> {
    let Path(recipient) = path.map_err(|_| Fault::field("recipient", "expected UTF-8"))?;
    let Query(wishes) = wishes.map_err(|_| Fault::field("query", EXPECTED))?;
    let mut all = ask(&api, workspace, vec![recipient], &wishes).await?;
    Ok(Json(all.pop().ok_or(Unavailable)?))
}

/// Recipients to ask about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendTimesRequest {
    /// As you name them when you mint links.
    #[schema(min_items = 1, max_items = 100)]
    recipients: Vec<String>,
    /// What is asked for beside windows.
    #[serde(default)]
    wishes: Wishes,
}

/// In the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SendTimesAnswer {
    send_times: Vec<SendTime>,
}

/// When to write to each of several recipients, or why there is no answer.
#[utoipa::path(post, path = "/v1/send-times", operation_id = "send_times", request_body = SendTimesRequest,
    responses((status = 200, description = "One for each recipient, in their order", body = SendTimesAnswer)))]
pub(crate) async fn many(
    State(api): State<Arc<Api>>,
    Extension(Workspace(workspace)): Extension<Workspace>,
    Parsed(request): Parsed<SendTimesRequest>,
) -> Result<Json<SendTimesAnswer>, Fault> {
    let SendTimesRequest { recipients, wishes } = request;
    if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
        return Err(Fault::field("recipients", format!("expected 1 to {RECIPIENTS_MAX}")));
    }
    if let Some(at) = recipients.iter().position(String::is_empty) {
        return Err(Fault::field(format!("recipients[{at}]"), "is empty"));
    }
    Ok(Json(SendTimesAnswer { send_times: ask(&api, workspace, recipients, &wishes).await? }))
}

async fn ask(
    api: &Api,
    workspace: u32,
    recipients: Vec<String>,
    wishes: &Wishes,
) -> Result<Vec<SendTime>, Fault> {
    let keys = api.backing.keys.load_full();
    let wanted = wishes.check(&keys, workspace)?;
    let hashes = recipients.iter().map(|recipient| keys.recipient(workspace, recipient)).collect();
    let all = (api.backing.ask)(workspace, hashes, wanted).await?;
    if all.len() != recipients.len() {
        return Err(Unavailable.into());
    }
    let one = |(recipient, advice)| SendTime { recipient, advice };
    Ok(recipients.into_iter().zip(all).map(one).collect())
}
