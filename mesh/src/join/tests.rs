#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn request(token: usize, csr: usize) -> JoinRequest {
    JoinRequest {
        cluster: Uid::NIL,
        pod_uid: Uid::NIL,
        token: "t".repeat(token),
        csr_der: vec![1; csr],
    }
}

#[test]
fn requests_round_trip_within_their_limits() {
    let good = request(900, 300);
    assert_eq!(JoinRequest::decode(&good.encode()), Ok(good));
    for bad in [
        request(limits::TOKEN_BYTES_MAX + 1, 1),
        request(1, limits::CERTIFICATE_BYTES_MAX + 1),
    ] {
        assert_eq!(JoinRequest::decode(&bad.encode()), Err(JoinDecodeError));
    }
}

#[test]
fn a_token_is_never_shown() {
    assert!(!format!("{:?}", request(40, 1)).contains("tttt"));
}

#[test]
fn responses_round_trip_within_their_limits() {
    let long = "x".repeat(limits::REASON_BYTES_MAX + 1);
    for good in [
        JoinResponse::Certificate {
            chain_der: vec![vec![1; 400]],
        },
        JoinResponse::Map(vec![0; 10]),
        JoinResponse::Retry {
            after_ms: 200,
            reason: "pod has no address yet".into(),
        },
        JoinResponse::Refused {
            category: "WrongPod".into(),
            message: "no".into(),
        },
    ] {
        assert_eq!(JoinResponse::decode(&good.encode()), Ok(good));
    }
    for bad in [
        JoinResponse::Certificate { chain_der: vec![] },
        JoinResponse::Certificate {
            chain_der: vec![vec![]; limits::CHAIN_MAX + 1],
        },
        JoinResponse::Retry {
            after_ms: 0,
            reason: long,
        },
    ] {
        assert_eq!(JoinResponse::decode(&bad.encode()), Err(JoinDecodeError));
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(request) = JoinRequest::decode(&bytes) {
            prop_assert_eq!(JoinRequest::decode(&request.encode()), Ok(request));
        }
        if let Ok(response) = JoinResponse::decode(&bytes) {
            prop_assert_eq!(JoinResponse::decode(&response.encode()), Ok(response));
        }
    }
}
