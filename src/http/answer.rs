//! Answers and inputs of the staff API: a value as JSON, or a problem as RFC 9457 says.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;
use crate::reason::Reason;

/// A value, or why there is none.
#[derive(Debug)]
pub(super) struct Answer<T>(Result<T, Problem>);

impl<T> From<Result<T, Problem>> for Answer<T> {
    fn from(result: Result<T, Problem>) -> Self {
        Self(result)
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match self.0 {
            Ok(value) => Json(value).into_response(),
            Err(problem) => problem_response(&problem),
        }
    }
}

/// A list as one object.
pub(super) fn items<T: Serialize>(list: Result<Vec<T>, Problem>) -> Answer<serde_json::Value> {
    list.map(|items| serde_json::json!({ "items": items })).into()
}

/// A JSON body; one that does not fit is answered as a problem that says where.
#[derive(Debug)]
pub(super) struct Input<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(|error| {
            problem_response(&Problem::bad_input(Reason::LimitExceeded, format!("the request's body: {error}")))
        })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            problem_response(&Problem::bad_input(Reason::BadInput, format!("the request's body: {error}")))
        })
    }
}

fn problem_response(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/problem+json")], serde_json::to_vec(problem).unwrap_or_default())
        .into_response()
}
