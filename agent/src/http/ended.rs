//! How watches of the map end.

/// Why a watch ended: label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Answered, or its time was over.
    InTime,
    /// The client closed the connection.
    ByClient,
    /// The client took a line too slowly.
    SlowReader,
    /// The client took no byte for too long.
    Stalled,
    /// This agent ends.
    ShuttingDown,
}

impl Ended {
    pub(crate) const ALL: [Self; 5] = [
        Self::InTime,
        Self::ByClient,
        Self::SlowReader,
        Self::Stalled,
        Self::ShuttingDown,
    ];

    pub(crate) fn cause(self) -> &'static str {
        match self {
            Self::InTime => "in_time",
            Self::ByClient => "by_client",
            Self::SlowReader => "slow_reader",
            Self::Stalled => "stalled",
            Self::ShuttingDown => "shutting_down",
        }
    }
}
