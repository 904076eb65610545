//! Loopback networks: 127.N.0.0/16 for each group of nodes, claimed by a socket on an address of it that
//! no pod gets, so that two runs on one machine never give the same address to two pods, whoever started
//! them and wherever their caches are. The kernel lets go of a socket when its holder ends, however it
//! ends.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail};

/// 127.0.0.0/16 is everybody's.
const NETWORKS: RangeInclusive<u8> = 20..=250;
/// Last two octets of the claiming address: no node has the number 255.
const CLAIM: (u8, u8) = (255, 254);
const PORT: u16 = 7400;

/// A claimed network. Dropping it gives it back.
#[derive(Debug)]
pub struct Network {
    number: u8,
    _claim: UdpSocket,
}

impl Network {
    /// Claims one that nobody uses.
    ///
    /// # Errors
    /// When all are in use, or loopback has no such addresses.
    pub fn claim() -> Result<Self> {
        for number in NETWORKS {
            let address = Ipv4Addr::new(127, number, CLAIM.0, CLAIM.1);
            match UdpSocket::bind((address, PORT)) {
                Ok(socket) => {
                    return Ok(Self {
                        number,
                        _claim: socket,
                    });
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("cannot listen on {address}, which Linux has on loopback")
                    });
                }
            }
        }
        bail!("every network from 127.20 to 127.250 is in use: end other runs (make clean)")
    }

    /// The second octet.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }
}
