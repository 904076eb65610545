//! The key of a look-up. A key is bytes, not text, so it is decoded by hand: a library that repairs
//! what is not UTF-8 would name the slot of another key.

use thiserror::Error;

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
    /// Stable category.
    pub(super) fn category(self) -> &'static str {
        match self {
            Self::Missing => "KeyMissing",
            Self::Several => "SeveralKeys",
            Self::TooLong => "KeyTooLong",
            Self::Encoding => "KeyEncoding",
        }
    }
}

/// The bytes of parameter `key` of a query string; other parameters are for later versions.
pub(super) fn key(query: &str) -> Result<Vec<u8>, KeyError> {
    let mut keys = query
        .split('&')
        .filter_map(|parameter| match parameter.split_once('=') {
            Some(("key", value)) => Some(value),
            None if parameter == "key" => Some(""),
            _ => None,
        });
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
