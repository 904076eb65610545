use super::{KEY_BYTES_MAX, KeyError, key};

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
