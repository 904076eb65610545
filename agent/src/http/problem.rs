//! Why there is no answer: one stable category each, with its status.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Seconds after which a client that was turned away may try again.
const RETRY_AFTER: &str = "1";

/// Categories of problems. Scripts read them, so they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    BadParameter,
    KeyMissing,
    SeveralKeys,
    KeyTooLong,
    KeyEncoding,
    NoSuchSlot,
    NotFound,
    MethodNotAllowed,
    NotJoined,
    NotAMember,
    MapConflict,
    SlotUnserved,
    TooManyConnections,
    TooManyWatchers,
    ShuttingDown,
    SlowReader,
    Metrics,
}

impl Problem {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 17] = [
        Self::BadParameter,
        Self::KeyMissing,
        Self::SeveralKeys,
        Self::KeyTooLong,
        Self::KeyEncoding,
        Self::NoSuchSlot,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotJoined,
        Self::NotAMember,
        Self::MapConflict,
        Self::SlotUnserved,
        Self::TooManyConnections,
        Self::TooManyWatchers,
        Self::ShuttingDown,
        Self::SlowReader,
        Self::Metrics,
    ];

    pub(crate) fn category(self) -> &'static str {
        match self {
            Self::BadParameter => "BadParameter",
            Self::KeyMissing => "KeyMissing",
            Self::SeveralKeys => "SeveralKeys",
            Self::KeyTooLong => "KeyTooLong",
            Self::KeyEncoding => "KeyEncoding",
            Self::NoSuchSlot => "NoSuchSlot",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotJoined => "NotJoined",
            Self::NotAMember => "NotAMember",
            Self::MapConflict => "MapConflict",
            Self::SlotUnserved => "SlotUnserved",
            Self::TooManyConnections => "TooManyConnections",
            Self::TooManyWatchers => "TooManyWatchers",
            Self::ShuttingDown => "ShuttingDown",
            Self::SlowReader => "SlowReader",
            Self::Metrics => "Metrics",
        }
    }

    /// Of an answer; the last line of a watch has none, because its status was sent long before.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadParameter
            | Self::KeyMissing
            | Self::SeveralKeys
            | Self::KeyTooLong
            | Self::KeyEncoding
            | Self::NoSuchSlot => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowReader => StatusCode::REQUEST_TIMEOUT,
            Self::NotJoined
            | Self::NotAMember
            | Self::MapConflict
            | Self::SlotUnserved
            | Self::TooManyConnections
            | Self::TooManyWatchers
            | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Metrics => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn because(self, message: impl Into<String>) -> Refusal {
        Refusal {
            problem: self,
            message: message.into(),
        }
    }
}

/// A problem, and what to do about it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: Problem,
    pub(super) message: String,
}

/// The JSON of a refusal.
#[derive(Serialize)]
pub(super) struct RefusalBody<'a> {
    error: &'static str,
    message: &'a str,
}

impl Refusal {
    pub(super) fn body(&self) -> RefusalBody<'_> {
        RefusalBody {
            error: self.problem.category(),
            message: &self.message,
        }
    }
}

/// What is answered once this agent ends.
pub(super) fn shutting_down() -> Refusal {
    Problem::ShuttingDown.because("this agent ends; ask the agent that takes its place")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.problem.status();
        let mut response = (status, Json(self.body())).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let wait = HeaderValue::from_static(RETRY_AFTER);
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        response
    }
}
