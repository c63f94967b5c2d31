//! What is answered when something is wrong: each code that the document knows.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::{Arc, Barrier};

use api::{Code, Config, Unavailable};
use serde_json::{Value, json};

use crate::server::{END, Reply, Server};

const SECRET: &str = "hidden@example.com";

fn send() -> Value {
    json!({"time": "2026-10-31T09:00:00Z", "recipient": SECRET, "message": "m"})
}

/// Holds an answer to what every error is.
fn check(reply: &Reply, code: Code) {
    assert_eq!((reply.status, reply.code()), (code.status().as_u16(), code.as_str()), "{reply:?}");
    assert!(!reply.body["error"]["message"].as_str().unwrap().is_empty());
    assert!(!reply.body.to_string().contains("hidden"), "{reply:?}");
}

#[test]
fn each_documented_error_is_reached() {
    let document = serde_json::to_value(api::document()).unwrap();
    let mut documented = BTreeSet::new();
    for operations in document["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            documented.extend(operation["responses"].as_object().unwrap().keys().cloned());
        }
    }
    documented.retain(|status| !status.starts_with('2'));
    let reached = [
        (Code::Malformed, malformed()),
        (Code::Unauthorized, unauthorized()),
        (Code::TooLarge, too_large()),
        (Code::NotJson, not_json()),
        (Code::Invalid, invalid()),
        (Code::Busy, busy()),
        (Code::Unavailable, unavailable()),
        (Code::Timeout, timeout()),
    ];
    for (code, reply) in &reached {
        check(reply, *code);
    }
    assert_eq!(documented, reached.iter().map(|(_, reply)| reply.status.to_string()).collect());
    let server = Server::start();
    check(&server.get("/v2"), Code::NotFound);
    check(&server.get("/v1/links"), Code::MethodNotAllowed);
}

fn malformed() -> Reply {
    Server::start().post_text("/v1/sends", &format!("{{\"recipient\": \"{SECRET}\""))
}

fn unauthorized() -> Reply {
    let server = Server::start();
    for wrong in ["Bearer hidden", "Basic hidden", "hidden", "Bearer "] {
        let reply = server.send(&format!("GET /v1/links HTTP/1.1\r\nAuthorization: {wrong}\r\n{END}"));
        check(&reply, Code::Unauthorized);
        assert!(reply.head.contains("www-authenticate: bearer"), "{reply:?}");
    }
    // Before its body is there.
    server.send(&format!(
        "POST /v1/sends HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n{END}"
    ))
}

fn too_large() -> Reply {
    let server = Server::with(Config { body_bytes_max: 1_024, ..Config::default() }, |_| {});
    let fits = json!({"html": "x".repeat(800), "recipient": "ann", "message": "m"});
    assert_eq!(server.post("/v1/messages/instrument", &fits).status, 200);
    server.post("/v1/messages/instrument", &json!({"html": "x".repeat(1_024)}))
}

fn not_json() -> Reply {
    let server = Server::start();
    server.send(&format!(
        "POST /v1/sends HTTP/1.1\r\nAuthorization: Bearer {}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n{END}{{}}",
        server.key
    ))
}

fn invalid() -> Reply {
    let server = Server::start();
    let open = json!({"kind": "open", "recipient": SECRET, "message": "m"});
    let with = |name: &str, value: Value| {
        let mut body = open.clone();
        body[name] = value;
        body
    };
    for (body, field) in [
        (with("target", json!("https://hidden.example")), "target"),
        (with("kind", json!("click")), "target"),
        (with("message", json!("")), "message"),
        (with("recipient", json!("")), "recipient"),
        (with("sent_at", json!(SECRET)), "sent_at"),
        (with("sent_at", json!("1960-01-01T00:00:00Z")), "sent_at"),
    ] {
        let reply = server.post("/v1/links", &body);
        check(&reply, Code::Invalid);
        assert_eq!(reply.body["error"]["field"], field, "{reply:?}");
    }
    for (body, field) in [
        (with("kind", json!("hidden")), json!("kind")),
        (with("number", json!("hidden")), json!("number")),
        (with("hidden", json!(1)), Value::Null),
    ] {
        let reply = server.post("/v1/links", &body);
        check(&reply, Code::Malformed);
        assert_eq!(reply.body["error"]["field"], field, "{reply:?}");
    }
    let href = "<a href='https://hidden@example.com/'>x</a>";
    let reply =
        server.post("/v1/messages/instrument", &json!({"html": href, "recipient": SECRET, "message": "m"}));
    check(&reply, Code::Invalid);
    check(&server.get("/v1/recipients/%ff/send-time"), Code::Invalid);
    for query in [
        "days=hidden%40example.com",
        "hidden%40example.com=1",
        "quiet=21",
        "quiet=7-7",
        "quiet=21-8&quiet=1-2",
        "explore=0.1",
        "message=m&explore=0.6",
        "message=m&explore=-0.1",
        "message=m&explore=NaN",
        "message=m&after=hidden%40example.com",
        "after=2026-12-01T08:00:00Z",
    ] {
        check(&server.get(&format!("/v1/recipients/ann/send-time?{query}")), Code::Invalid);
    }
    let wishes = json!({"recipients": ["ann"], "wishes": {"quiet": SECRET}});
    check(&server.post("/v1/send-times", &wishes), Code::Invalid);
    for (path, body) in [
        ("/v1/send-times", json!({"recipients": vec![SECRET; api::RECIPIENTS_MAX + 1]})),
        ("/v1/send-times", json!({"recipients": [SECRET, ""]})),
        ("/v1/sends", json!({"sends": vec![send(); api::SENDS_MAX + 1]})),
        ("/v1/sends", json!({"sends": []})),
        ("/v1/sends", json!({"time": "2026-10-31T09:00:00Z", "message": SECRET})),
    ] {
        check(&server.post(path, &body), Code::Invalid);
    }
    let reply = server.post("/v1/sends", &json!({"sends": [{"hidden": 1}, {"time": 2}]}));
    assert_eq!(reply.body["errors"].as_array().map(Vec::len), Some(2), "{reply:?}");
    assert!(server.recorded.lock().unwrap().is_empty());
    reply
}

fn busy() -> Reply {
    let (inside, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let server = Server::with(Config { requests_max: 1, ..Config::default() }, |backing| {
        let (inside, go_on) = (inside.clone(), go_on.clone());
        backing.record = Box::new(move |_, sends| {
            inside.wait();
            go_on.wait();
            Ok(vec![None; sends.len()])
        });
    });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.post("/v1/sends", &send()));
        inside.wait();
        let second = server.post("/v1/sends", &send());
        go_on.wait();
        assert_eq!(first.join().unwrap().status, 202);
        assert!(second.head.contains("retry-after: 1"), "{second:?}");
        second
    })
}

fn unavailable() -> Reply {
    let server = Server::with(Config::default(), |backing| {
        backing.record = Box::new(|_, _| Err(Unavailable));
        backing.ask = Box::new(|_, _, _| Box::pin(async { Err(Unavailable) }));
    });
    check(&server.get("/v1/recipients/ann/send-time"), Code::Unavailable);
    let reply = server.post("/v1/sends", &send());
    assert!(reply.head.contains("retry-after: "), "{reply:?}");
    reply
}

fn timeout() -> Reply {
    let server = Server::with(Config { request_timeout_ms: 100, ..Config::default() }, |backing| {
        backing.ask = Box::new(|_, _, _| Box::pin(std::future::pending()));
    });
    // One whose body never comes.
    let slow = server.send(&format!(
        "POST /v1/sends HTTP/1.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\n{END}{{",
        server.key
    ));
    check(&slow, Code::Timeout);
    server.get("/v1/recipients/ann/send-time")
}

#[test]
fn a_head_that_does_not_come_ends_its_connection() {
    let server = Server::with(Config { header_read_timeout_ms: 100, ..Config::default() }, |_| {});
    let mut stream = server.connect();
    stream.write_all(b"GET /openapi.json HTTP/1.1\r\nHost").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn what_cannot_work_is_refused_by_its_name() {
    let wrong = Config { requests_max: 0, ..Config::default() };
    assert_eq!(wrong.check().unwrap_err().key, "api.requests_max");
    assert_eq!(Config::default().check(), Ok(()));
}
