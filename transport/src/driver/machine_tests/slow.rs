//! Peers that go on with nothing, or read nothing.

use slotmesh_mesh::limits::{STREAM_WINDOW_BYTES, STREAMS};

use super::*;

/// A peer that begins as many messages as it may, and goes on with none of them: its own beats pass, and others are
/// not held up; in the end it is told on and may begin new ones.
#[tokio::test]
async fn messages_that_do_not_go_on_hold_up_nothing_and_are_given_up() {
    let authority = authority();
    let [one, two] = [party(&authority, 1), party(&authority, 2)];
    let (endpoint, client) = endpoint(&authority, 3);
    let name = server_name(cluster());
    let slow = endpoint.connect_with(client, one.address, &name).unwrap();
    let slow = slow.await.unwrap();
    let mut begun = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = slow.open_uni().await.unwrap();
        stream.write_all(&[4]).await.unwrap();
        begun.push(stream);
    }
    let no_more = tokio::time::timeout(Duration::from_millis(200), slow.open_uni());
    assert!(no_more.await.is_err(), "no stream beyond the limit");
    slow.send_datagram(vec![9; 30].into()).unwrap();
    let beat = one.told(|input| match input {
        Input::Datagram { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    assert_eq!(beat.await, [9; 30]);

    two.dial(one.address, 1, keypair(1).public()).await;
    let (connection, ..) = two.told(up).await;
    let bytes = vec![7; 1000];
    two.wants(vec![Output::Frame { connection, bytes }]).await;
    let frame = |length: usize| {
        move |input: &Input| match input {
            Input::Frame { bytes, .. } => (bytes.len() == length).then_some(()),
            _ => None,
        }
    };
    one.told(frame(1000)).await;
    let given_up = |input: &Input| match input {
        Input::Unread { why, .. } => Some(*why),
        _ => None,
    };
    assert_eq!(one.told(given_up).await, Unread::TooSlow);
    for stream in begun {
        assert!(stream.stopped().await.unwrap().is_some(), "told to stop");
    }
    let mut stream = slow.open_uni().await.unwrap();
    stream.write_all(&[4; 10]).await.unwrap();
    stream.finish().unwrap();
    one.told(frame(10)).await;
}

/// A peer that reads nothing of a map gets the next message all the same.
#[tokio::test]
async fn a_long_message_does_not_hold_up_those_behind_it() {
    let authority = authority();
    let one = party(&authority, 1);
    let (endpoint, client) = endpoint(&authority, 3);
    let name = server_name(cluster());
    let slow = endpoint.connect_with(client, one.address, &name).unwrap();
    let slow = slow.await.unwrap();
    let (connection, ..) = one.told(up).await;
    let frame = |bytes| Output::Frame { connection, bytes };
    let long = STREAM_WINDOW_BYTES as usize + 1000;
    one.wants(vec![frame(vec![1; long]), frame(vec![7])]).await;
    let both = async {
        let mut unread = slow.accept_uni().await.unwrap();
        let mut next = slow.accept_uni().await.unwrap();
        assert_eq!(next.read_to_end(10).await.unwrap(), [7]);
        assert_eq!(unread.read_to_end(long).await.unwrap().len(), long);
    };
    tokio::time::timeout(DEADLINE, both)
        .await
        .expect("both arrive");
}
