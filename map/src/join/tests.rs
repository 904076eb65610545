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
fn golden_messages() {
    let request = request(2, 3);
    let expected = [&[0; 32][..], &[2, b't', b't', 3, 1, 1, 1]].concat();
    assert_eq!(request.encode(), expected);
    let certificate = JoinResponse::Certificate {
        chain_der: vec![vec![7]],
    };
    assert_eq!(certificate.encode(), [0, 1, 1, 7]);
    assert_eq!(JoinResponse::Map(vec![7]).encode(), [KIND_MAP, 1, 7]);
    let retry = JoinResponse::Retry {
        after_ms: 200,
        reason: "x".into(),
    };
    assert_eq!(retry.encode(), [2, 0xc8, 1, 1, b'x']);
    let refused = JoinResponse::Refused {
        category: "A".into(),
        message: "b".into(),
    };
    assert_eq!(refused.encode(), [3, 1, b'A', 1, b'b']);
    let leader = Some(SocketAddr::from(([10, 0, 0, 7], 7401)));
    let elsewhere = JoinResponse::NotLeader { leader };
    assert_eq!(elsewhere.encode(), [4, 1, 0, 10, 0, 0, 7, 0xe9, 0x39]);
}

#[test]
fn the_largest_of_each_kind_is_read_and_only_a_map_may_be_long() {
    let text = || "x".repeat(limits::REASON_BYTES_MAX);
    for good in [
        JoinResponse::Certificate {
            chain_der: vec![vec![1; limits::CERTIFICATE_BYTES_MAX]; limits::CHAIN_MAX],
        },
        JoinResponse::Map(vec![1; limits::MAP_BYTES_MAX]),
        JoinResponse::Retry {
            after_ms: u32::MAX,
            reason: text(),
        },
        JoinResponse::Refused {
            category: text(),
            message: text(),
        },
    ] {
        assert_eq!(JoinResponse::decode(&good.encode()), Ok(good));
    }
    let many = JoinResponse::Certificate {
        chain_der: vec![vec![]; limits::JOIN_RESPONSE_BYTES_MAX],
    };
    assert_eq!(JoinResponse::decode(&many.encode()), Err(JoinDecodeError));
    let large = request(limits::TOKEN_BYTES_MAX, limits::CERTIFICATE_BYTES_MAX);
    assert_eq!(JoinRequest::decode(&large.encode()), Ok(large));
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
        JoinResponse::NotLeader { leader: None },
        JoinResponse::NotLeader {
            leader: "[fd00::7]:7401".parse().ok(),
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

    #[test]
    fn damaged_messages_decode_or_are_refused(
        flips in prop::collection::vec((0_usize..1000, any::<u8>()), 1..4),
        cut in 0_usize..1000,
    ) {
        let chain = JoinResponse::Certificate { chain_der: vec![vec![3; 40]; 2] };
        for mut bytes in [request(40, 30).encode(), chain.encode()] {
            let length = bytes.len();
            for (position, value) in &flips {
                if let Some(byte) = bytes.get_mut(position % length) {
                    *byte = *value;
                }
            }
            bytes.truncate(length - cut % length);
            if let Ok(request) = JoinRequest::decode(&bytes) {
                prop_assert_eq!(JoinRequest::decode(&request.encode()), Ok(request));
            }
            if let Ok(response) = JoinResponse::decode(&bytes) {
                prop_assert_eq!(JoinResponse::decode(&response.encode()), Ok(response));
            }
        }
    }
}
