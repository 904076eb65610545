#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::SystemTime;

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::authority::{Authority, key_of_request};
use crate::testing::{authority, credentials, keypair, uid};

#[test]
fn a_member_is_read_back_from_its_certificate() {
    let authority = authority();
    let again = Authority::from_pem(authority.certificate_pem(), authority.key_pem()).unwrap();
    let leaf = &credentials(&again, 5).chain[0];
    let expected = PeerIdentity::Agent {
        uid: uid(5),
        key: keypair(5).public(),
    };
    assert_eq!(peer_of(leaf, uid(200)), Ok(expected));
    assert_eq!(
        peer_of(leaf, uid(201)),
        Err(IdentityError::WrongCluster(uid(200)))
    );
    // The CA itself is nobody.
    assert_eq!(
        peer_of(authority.certificate(), uid(200)),
        Err(IdentityError::NoIdentity)
    );
}

#[test]
fn the_operator_is_read_back_from_its_certificate() {
    let leaf = authority()
        .issue_operator(
            &keypair(9),
            uid(200),
            SystemTime::now(),
            crate::authority::CERTIFICATE_LIFETIME,
        )
        .unwrap();
    assert_eq!(peer_of(&leaf, uid(200)), Ok(PeerIdentity::Operator));
}

#[test]
fn a_certificate_has_exactly_one_name() {
    let of = |uris: &[&str]| {
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()))
            .collect();
        let key = certificate_key(&keypair(1)).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        peer_of(certificate.der(), uid(200))
    };
    let member = member_uri(uid(200), uid(1));
    assert!(of(&[&member]).is_ok());
    let operator = operator_uri(uid(200));
    for uris in [
        &[][..],
        &[member.as_str(), operator.as_str()],
        &["spiffe://example.org/cluster/x/operator"],
        &["spiffe://slotmesh.dev/cluster/x/operator"],
        &[format!("{member}/more").as_str()],
        &[format!("{operator}/more").as_str()],
    ] {
        assert_eq!(of(uris), Err(IdentityError::NoIdentity), "{uris:?}");
    }
}

#[test]
fn other_kinds_of_keys_are_refused() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let parameters = parameters(&member_uri(uid(200), uid(1))).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    assert_eq!(
        peer_of(certificate.der(), uid(200)),
        Err(IdentityError::WrongKeyType)
    );
    let request = parameters.serialize_request(&key).unwrap();
    assert_eq!(
        key_of_request(request.der()),
        Err(IdentityError::WrongKeyType)
    );
}

#[test]
fn a_request_that_was_changed_is_not_signed() {
    let authority = authority();
    let mut request = signing_request(&keypair(1), uid(200), uid(1)).unwrap();
    let now = SystemTime::now();
    let day = crate::authority::CERTIFICATE_LIFETIME;
    assert_eq!(key_of_request(&request), Ok(keypair(1).public()));
    assert!(
        authority
            .issue(&request, uid(200), uid(1), now, day)
            .is_ok()
    );
    *request.last_mut().unwrap() ^= 1;
    assert!(
        authority
            .issue(&request, uid(200), uid(1), now, day)
            .is_err()
    );
    request.push(0);
    assert_eq!(key_of_request(&request), Err(IdentityError::Malformed));
}

#[test]
fn a_server_name_tells_the_cluster() {
    assert_eq!(cluster_of_server_name(&server_name(uid(7))), Some(uid(7)));
    assert_eq!(cluster_of_server_name("slotmesh.dev"), None);
}
