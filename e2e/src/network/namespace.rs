//! A network namespace without a name: it lives as long as its descriptor, or a process in it.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Longest wait for a connection; inside a namespace it is there at once or refused.
const CONNECT: Duration = Duration::from_secs(2);

/// A network namespace. Dropping it leaves it to the processes in it.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// A new one, with nothing but loopback in it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create() -> Result<Self> {
        // Only the thread that asks is moved, and ends here.
        let file = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("no new network namespace")?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        })?;
        Ok(Self { file })
    }

    /// A path by which children of ours can enter it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.file.as_raw_fd()
        ))
    }

    /// Does something short in it.
    ///
    /// # Errors
    /// When it cannot be entered, or the work fails.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            self.enter()?;
            work()
        })
    }

    fn enter(&self) -> Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).context("cannot enter the network namespace")
    }

    /// Connects to an address that is inside it: also when nothing gets in or out.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(&self, address: SocketAddr) -> Result<TcpStream> {
        let inside = Self {
            file: self.file.try_clone()?,
        };
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || {
            let connected = inside
                .enter()
                .and_then(|()| Ok(std::net::TcpStream::connect_timeout(&address, CONNECT)?));
            let _ = sender.send(connected);
        });
        let stream = receiver.await.context("the thread fell over")??;
        stream.set_nonblocking(true)?;
        Ok(TcpStream::from_std(stream)?)
    }

    /// Listens on an address inside it.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn listen(&self, address: SocketAddr) -> Result<TcpListener> {
        let listener = self.within(|| Ok(std::net::TcpListener::bind(address)?))?;
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_std(listener)?)
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join())
        .map_err(|_| anyhow!("a thread fell over"))?
}
