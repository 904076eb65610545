#![allow(clippy::unwrap_used)]

use super::*;

/// As iptables 1.8.9 prints it.
const LIST: &str = "\
Chain FORWARD (policy ACCEPT 5 packets, 420 bytes)
    pkts      bytes target     prot opt in     out     source               destination         
    1200    93000            0    --  *      *       0.0.0.0/0            0.0.0.0/0           
     123     9300 DROP       0    --  *      *       0.0.0.0/0            0.0.0.0/0            statistic mode random probability 0.10000000009
";

#[test]
fn the_share_is_of_all_that_came_by() {
    let forwarded = Forwarded::read(LIST).unwrap();
    let expected = Forwarded {
        packets: 1200,
        dropped: 123,
    };
    assert_eq!(forwarded, expected);
    assert!((forwarded.dropped_percent() - 10.25).abs() < 1e-9);
}

#[test]
fn a_chain_without_the_rules_is_no_loss_of_zero() {
    let head: Vec<&str> = LIST.lines().take(3).collect();
    assert_eq!(Forwarded::read(&head.join("\n")), None);
    assert_eq!(Forwarded::default().dropped_percent(), 0.0);
}
