#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn uid_text_round_trips_and_bad_text_is_refused() {
    let text = "6f1c2d3e-0000-4000-8000-0123456789ab";
    assert_eq!(text.parse::<Uid>().unwrap().to_string(), text);
    for bad in [
        "",
        "6f1c2d3e",
        "6f1c2d3e-0000-4000-8000-0123456789ag",
        "6f1c2d3e00004000800001234567890a-1",
    ] {
        assert!(bad.parse::<Uid>().is_err(), "{bad}");
    }
    let said = "one\ntwo".parse::<Uid>().unwrap_err().to_string();
    assert!(said.starts_with("`one\\ntwo` is not a UID"), "{said}");
}

#[test]
fn a_signature_holds_for_its_key_domain_and_parts_only() {
    let key = Keypair::from_seed([7; 32]);
    let signature = key.sign("domain", &[b"ab", b"c"]);
    assert!(key.public().verify("domain", &[b"ab", b"c"], &signature));
    assert!(!key.public().verify("other", &[b"ab", b"c"], &signature));
    assert!(
        !key.public().verify("domain", &[b"a", b"bc"], &signature),
        "parts are delimited"
    );
    assert!(
        !Keypair::from_seed([8; 32])
            .public()
            .verify("domain", &[b"ab", b"c"], &signature)
    );
    assert!(!PublicKey::from_bytes([0xff; 32]).verify("domain", &[], &signature));
}

#[test]
fn a_key_pair_hides_its_secret() {
    let shown = format!("{:?}", Keypair::from_seed([0xab; 32]));
    assert!(!shown.contains("abab"), "{shown}");
}
