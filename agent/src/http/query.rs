//! Parameters of a query string; others than those that are known are for later versions.
//!
//! The key of a look-up is bytes, not text, so it is decoded by hand: a library that repairs
//! what is not UTF-8 would name the slot of another key.

use std::str::FromStr;

use thiserror::Error;

use super::problem::Problem;

/// Bytes of a key.
const KEY_BYTES_MAX: usize = 4096;

/// Why there is no key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum KeyError {
    #[error("name a key: /v1/locate?key=user:42")]
    Missing,
    #[error("name one key; a look-up of several takes several requests")]
    Several,
    #[error("a key has at most {KEY_BYTES_MAX} bytes")]
    TooLong,
    #[error("the key holds a % without two hexadecimal digits behind it; write % as %25")]
    Encoding,
}

impl KeyError {
    pub(super) fn problem(self) -> Problem {
        match self {
            Self::Missing => Problem::KeyMissing,
            Self::Several => Problem::SeveralKeys,
            Self::TooLong => Problem::KeyTooLong,
            Self::Encoding => Problem::KeyEncoding,
        }
    }
}

/// The values of a parameter, as they stand there.
fn values<'a>(query: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    query
        .split('&')
        .filter_map(move |parameter| match parameter.split_once('=') {
            Some((found, value)) if found == name => Some(value),
            None if parameter == name => Some(""),
            _ => None,
        })
}

/// The one value of a parameter.
fn value<'a>(query: &'a str, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = values(query, name);
    let first = values.next();
    match values.next() {
        Some(_) => Err(format!("{name} is there twice; name it once")),
        None => Ok(first),
    }
}

/// A number, if it is there.
pub(super) fn number(query: &str, name: &str, max: u64) -> Result<Option<u64>, String> {
    let Some(text) = value(query, name)? else {
        return Ok(None);
    };
    match digits(text) {
        Some(number) if number <= max => Ok(Some(number)),
        _ => Err(format!("{name} is a number from 0 to {max}: {name}=42")),
    }
}

/// A number of nothing but digits: the library takes a sign too, which no answer shows (and in a query
/// it is a space).
pub(super) fn digits<N: FromStr>(text: &str) -> Option<N> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// `true` or `false`, as the Kubernetes API reads them; false when it is not there.
pub(super) fn flag(query: &str, name: &str) -> Result<bool, String> {
    match value(query, name)? {
        Some("true" | "1") => Ok(true),
        None | Some("false" | "0") => Ok(false),
        Some(_) => Err(format!("{name} is true or false: {name}=true")),
    }
}

/// The bytes of parameter `key`.
pub(super) fn key(query: &str) -> Result<Vec<u8>, KeyError> {
    let mut keys = values(query, "key");
    let value = keys.next().ok_or(KeyError::Missing)?;
    if keys.next().is_some() {
        return Err(KeyError::Several);
    }
    let key = decode(value).ok_or(KeyError::Encoding)?;
    match key.len() {
        // More likely a variable that was not set than the empty key.
        0 => Err(KeyError::Missing),
        length if length > KEY_BYTES_MAX => Err(KeyError::TooLong),
        _ => Ok(key),
    }
}

/// Bytes of a form value: `+` is a space, `%XX` a byte.
fn decode(value: &str) -> Option<Vec<u8>> {
    let mut bytes = value.bytes();
    let mut decoded = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hexadecimal(bytes.next()?)? << 4 | hexadecimal(bytes.next()?)?,
            other => other,
        });
    }
    Some(decoded)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests;
