#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{KEY_BYTES_MAX, KeyError, flag, key, number};

proptest! {
    /// A key that is escaped as a client escapes it comes out as it went in.
    #[test]
    fn an_escaped_key_is_the_key(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
        let escaped: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
        prop_assert_eq!(key(&format!("key={escaped}")), Ok(bytes));
    }

    #[test]
    fn any_query_has_an_answer(query in "(key|epoch|watch|=|&|%|[0-9]|\\PC){0,40}") {
        let _ = (key(&query), number(&query, "epoch", u64::MAX), flag(&query, "watch"));
    }
}

#[test]
fn parameters_have_their_form() {
    assert_eq!(number("a=1&epoch=42", "epoch", 100), Ok(Some(42)));
    assert_eq!(number("epochs=42", "epoch", 100), Ok(None));
    for query in [
        "epoch=101",
        "epoch=",
        "epoch",
        "epoch=-1",
        "epoch=+42",
        "epoch=%34%32",
        "epoch=1&epoch=1",
    ] {
        let error = number(query, "epoch", 100).unwrap_err();
        assert!(
            error.starts_with("epoch is ") && !error.contains('\n'),
            "{error}"
        );
    }
    for (query, expected) in [
        ("watch=true", true),
        ("watch=1", true),
        ("watch=0", false),
        ("", false),
    ] {
        assert_eq!(flag(query, "watch"), Ok(expected), "{query}");
    }
    assert!(flag("watch", "watch").is_err());
}

#[test]
fn keys_are_decoded_byte_by_byte() {
    for (query, expected) in [
        ("key=user:42", &b"user:42"[..]),
        ("key=a=b", b"a=b"),
        ("x=1&key=a%20b+c&y", b"a b c"),
        ("key=%7Btag%7d", b"{tag}"),
        ("key=%ff%00", b"\xff\x00"),
        ("key=\u{e9}", b"\xc3\xa9"),
    ] {
        assert_eq!(key(query).as_deref(), Ok(expected), "{query}");
    }
}

#[test]
fn what_is_no_key_has_a_category() {
    let longest = format!("key={}", "x".repeat(KEY_BYTES_MAX));
    assert!(key(&longest).is_ok());
    let longer = format!("{longest}x");
    for (query, expected) in [
        ("", KeyError::Missing),
        ("key", KeyError::Missing),
        ("key=", KeyError::Missing),
        ("monkey=1", KeyError::Missing),
        ("key=a&key=b", KeyError::Several),
        ("key=%", KeyError::Encoding),
        ("key=%4", KeyError::Encoding),
        ("key=%zz", KeyError::Encoding),
        ("key=%\u{e9}", KeyError::Encoding),
        (longer.as_str(), KeyError::TooLong),
    ] {
        assert_eq!(key(query), Err(expected), "{query}");
    }
}
