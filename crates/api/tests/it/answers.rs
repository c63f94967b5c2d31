//! What is answered when all is well.

use std::sync::{Arc, Mutex};

use crate::server::{END, Server, WORKSPACE};
use api::{Advice, Config, Days, Plan, Wanted};
use event::{Kind, Mode, Region};
use link::parse_path;
use serde_json::{Value, json};

fn opened(server: &Server, url: &str) -> link::Link {
    let path = url.strip_prefix("https://m.example.com").unwrap();
    let (kind, token) = parse_path(path.as_bytes()).unwrap();
    server.keys.load().open(kind, token).unwrap()
}

#[test]
fn a_minted_link_says_what_was_asked_for_in_the_workspace_of_the_key() {
    let server = Server::start();
    let reply = server.post(
        "/v1/links",
        &json!({"kind": "download", "recipient": "ann", "message": "spring", "target": "https://example.com/a.pdf",
                "number": 3, "trap": true, "mode": "date", "region": "eu", "sent_at": "2026-01-31T09:00:00Z"}),
    );
    assert_eq!(reply.status, 200, "{reply:?}");
    let link = opened(&server, reply.body["url"].as_str().unwrap());
    let keys = server.keys.load();
    let expected = link::Link {
        kind: Kind::Download,
        workspace: WORKSPACE,
        message: keys.message(WORKSPACE, "spring"),
        recipient: keys.recipient(WORKSPACE, "ann"),
        link: 3,
        target: "https://example.com/a.pdf".to_owned(),
        sent_at_ms: 1_769_850_000_000,
        mode: Mode::Date,
        region: Region::Eu,
        trap: true,
        ..link::Link::default()
    };
    assert_eq!(link, expected);

    for (kind, target, number) in [("open", Value::Null, 0), ("click", json!("https://example.com/"), 1)] {
        let unnumbered = json!({"kind": kind, "recipient": "ann", "message": "spring", "target": target});
        let reply = server.post("/v1/links", &unnumbered);
        assert_eq!(opened(&server, reply.body["url"].as_str().unwrap()).link, number);
    }

    let anonymous = json!({"kind": "open", "recipient": "ann", "message": "spring", "mode": "anonymous"});
    let reply = server.post("/v1/links", &anonymous);
    assert_eq!(opened(&server, reply.body["url"].as_str().unwrap()).recipient, 0);
}

#[test]
fn a_message_comes_back_tracked_with_warnings() {
    let server = Server::start();
    let html = "<p><a href=\"https://example.com/\">Go</a> <a href=\"/rel\">no</a></p>";
    let utm = json!([{"name": "utm_source", "value": "news"}]);
    let reply = server.post(
        "/v1/messages/instrument",
        &json!({"html": html, "recipient": "ann", "message": "spring", "utm": utm}),
    );
    assert_eq!(reply.status, 200, "{reply:?}");
    let [link] = &reply.body["links"].as_array().unwrap()[..] else { panic!("{reply:?}") };
    let url = link["url"].as_str().unwrap();
    assert!(reply.body["html"].as_str().unwrap().contains(url));
    assert_eq!(opened(&server, url).target, "https://example.com/?utm_source=news");
    assert!(reply.body["warnings"].to_string().contains("relative"), "{reply:?}");
}

#[test]
fn sends_are_recorded_but_for_the_bad_ones_which_are_named() {
    let server = Server::start();
    let send =
        |recipient: &str| json!({"time": "2026-10-31T09:00:00Z", "recipient": recipient, "message": "m"});
    let mut sends = ["a", "b@example.com", "c", "d@example.com", "e"].map(send);
    sends[1]["country"] = json!("DEU");
    sends[2]["time"] = json!("yesterday, b@example.com");
    sends[3]["recipient"] = json!(["d@example.com"]);
    let reply = server.post("/v1/sends", &json!({ "sends": sends }));
    assert_eq!((reply.status, &reply.body["recorded"]), (202, &json!(2)), "{reply:?}");
    let errors: Vec<(u64, &str)> = reply.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["index"].as_u64().unwrap(), error["field"].as_str().unwrap()))
        .collect();
    assert_eq!(errors, [(1, "country"), (2, "time"), (3, "recipient")]);
    assert!(!reply.body.to_string().contains('@'), "{reply:?}");

    let mut one = send("f");
    one["kind"] = json!("sent");
    let reply = server.post("/v1/sends", &one);
    assert_eq!((reply.status, reply.body), (202, json!({"recorded": 1, "errors": []})));
    let recorded = server.recorded.lock().unwrap();
    let told: Vec<(u32, &str)> = recorded.iter().map(|(of, send)| (*of, &*send.recipient)).collect();
    assert_eq!(told, [(WORKSPACE, "a"), (WORKSPACE, "e"), (WORKSPACE, "f")]);
}

#[test]
fn send_times_come_in_the_order_of_the_request() {
    let server = Server::start();
    let refused = json!({"reason": "unknown_recipient", "message": "no event is known"});
    let answer = |recipient: &str| json!({"recipient": recipient, "windows": [], "refused": refused});
    let reply = server.get("/v1/recipients/ann%2Fb%40example.com/send-time");
    assert_eq!((reply.status, reply.body), (200, answer("ann/b@example.com")));
    let reply = server.post("/v1/send-times", &json!({"recipients": ["ann", "ben"]}));
    assert_eq!((reply.status, reply.body), (200, json!({"send_times": [answer("ann"), answer("ben")]})));
}

#[test]
fn the_document_is_whole_and_needs_no_key() {
    let server = Server::start();
    let reply = server.send(&format!("GET /openapi.json HTTP/1.1\r\n{END}"));
    assert_eq!(reply.status, 200);
    assert!(reply.body["openapi"].as_str().unwrap().starts_with("3."));
    assert_eq!(reply.body["security"], json!([{"key": []}]));
    let schemas = &reply.body["components"]["schemas"];
    for reference in references(&reply.body) {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.get(name).is_some(), "{name} is not described");
    }
    // The bounds that it tells are those that hold.
    assert_eq!(
        schemas["SendTimesRequest"]["properties"]["recipients"]["maxItems"],
        json!(api::RECIPIENTS_MAX)
    );
    assert!(schemas["SendsRequest"].to_string().contains(&format!("\"maxItems\":{}", api::SENDS_MAX)));
}

fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str);
            own.into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn what_is_wished_for_is_asked_and_a_plan_is_told() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let to = asked.clone();
    let server = Server::with(Config::default(), |backing| {
        backing.ask = Box::new(move |_, recipients, wanted| {
            to.lock().unwrap().push(wanted);
            let plan = Plan { send_at: "2026-12-01T15:10:00Z".to_owned(), explored: true, propensity: 0.25 };
            let advice = Advice { windows: Vec::new(), plan: Some(plan), refused: None };
            Box::pin(async move { Ok(vec![advice; recipients.len()]) })
        });
    });
    let query = "days=weekend&quiet=21-8&message=spring&after=2026-12-01T08:00:00Z&explore=0.05";
    let one = server.get(&format!("/v1/recipients/ann/send-time?{query}"));
    let wishes = json!({"days": "weekend", "quiet": "21-8", "message": "spring",
        "after": "2026-12-01T08:00:00Z", "explore": 0.05});
    let many = server.post("/v1/send-times", &json!({"recipients": ["ann", "bob"], "wishes": wishes}));
    let told = json!({"recipient": "ann", "windows": [], "send_at": "2026-12-01T15:10:00Z", "explored": true,
        "propensity": 0.25});
    assert_eq!(one.body, told);
    assert_eq!(many.body["send_times"][0], told);
    assert_eq!(many.body["send_times"].as_array().map(Vec::len), Some(2));
    let wanted = Wanted {
        days: Days::Weekend,
        quiet: Some([21, 8]),
        message: Some(server.keys.load().message(WORKSPACE, "spring")),
        after_ms: Some(1_796_112_000_000),
        explore: 0.05,
    };
    assert_eq!(*asked.lock().unwrap(), [wanted; 2]);
    server.get("/v1/recipients/ann/send-time");
    let plain = Wanted { days: Days::Any, quiet: None, message: None, after_ms: None, explore: 0.0 };
    assert_eq!(asked.lock().unwrap()[2], plain);
}
