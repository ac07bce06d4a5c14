//! Frames of HTTP/2, gathered into few writes.
//!
//! h2 copies small frames together, and sends what they come to with one write. Where several buffers can be
//! written at once, it takes only frames of less than 256 bytes for small; a longer one, as most replies are, is
//! left where it is, and holds up what comes after it until it is written. Where they cannot, it is 1,024 bytes,
//! and the replies to many calls go out together. The price is one more write for each larger frame.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Carries bytes as what is in it does, but writes one buffer at a time.
pub(super) struct Gathered<Io>(pub(super) Io);

impl<Io: AsyncRead + Unpin> AsyncRead for Gathered<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Gathered<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On which h2 bases what it gathers.
    #[test]
    fn it_takes_one_buffer_at_a_time() {
        let (vectored, _other) = tokio::io::duplex(1);
        assert!(vectored.is_write_vectored());
        assert!(!Gathered(vectored).is_write_vectored());
    }
}
