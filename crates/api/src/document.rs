//! The OpenAPI document, made from the code.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder, path::Operation,
};
use utoipa::{Modify, OpenApi};

use crate::fault::{Code, ErrorBody, Fault};
use crate::{links, send_times, sends};

/// Where it is. The one path without a key.
pub(crate) const PATH: &str = "/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Mailbeacon",
        description = "Tracked links, instrumented messages, sends, recommended send times. A key belongs to a workspace, \
                       and all that is said with it is about that one."
    ),
    paths(links::mint, links::instrument, sends::record, send_times::one, send_times::many, show),
    components(schemas(ErrorBody, Fault, Code)),
    modifiers(&Common)
)]
struct Described;

/// The document.
pub fn document() -> Document {
    Described::openapi()
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub(crate) async fn show() -> Json<Document> {
    Json(document())
}

/// What all operations share: the key, and the errors.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        let key = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("key", key);
        document.security = Some(vec![utoipa::openapi::SecurityRequirement::new("key", [""; 0])]);
        for (path, item) in &mut document.paths.paths {
            if path == PATH {
                continue;
            }
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                add_errors(operation);
            }
        }
    }
}

fn add_errors(operation: &mut Operation) {
    let has_body = operation.request_body.is_some();
    for code in Code::ALL {
        let applies = match code {
            // Of paths, and not of an operation.
            Code::NotFound | Code::MethodNotAllowed => false,
            Code::Malformed | Code::TooLarge | Code::NotJson => has_body,
            _ => true,
        };
        if applies {
            let status = code.status().as_u16().to_string();
            operation.responses.responses.insert(status, RefOr::T(error(code)));
        }
    }
}

fn error(code: Code) -> Response {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
    ResponseBuilder::new().description(code.meaning()).content("application/json", body).build()
}
