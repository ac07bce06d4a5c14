//! A real Redis.

use std::time::Duration;

use redis_server_wrapper::{AppendFsync, RedisServer, RedisServerHandle, chaos};
use tempfile::TempDir;

/// A `redis-server` on a free port, which ends when this is dropped.
pub struct Redis {
    server: RedisServerHandle,
    password: Option<String>,
    /// Where its files are; kept for as long as it runs.
    _directory: TempDir,
}

impl Redis {
    /// Keeps nothing on disk.
    pub async fn start() -> Self {
        Self::start_with(|server| server, None).await
    }

    /// Keeps on disk what it has acknowledged, so that it can be killed and restarted.
    pub async fn start_durable() -> Self {
        Self::start_with(|server| server.appendonly(true).appendfsync(AppendFsync::Always), None).await
    }

    /// Lets in only who knows the password.
    pub async fn start_locked(password: &str) -> Self {
        Self::start_with(|server| server.password(password), Some(password)).await
    }

    async fn start_with(setup: impl FnOnce(RedisServer) -> RedisServer, password: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = setup(RedisServer::new().auto_port().save(false).dir(directory.path()));
        let server = server.start().await.unwrap_or_else(|error| {
            panic!("redis-server does not start ({error}); is it installed? (apt-get install redis-server)")
        });
        Self { server, password: password.map(str::to_owned), _directory: directory }
    }

    /// For `store.redis.url`.
    pub fn url(&self) -> String {
        let credentials = self.password.as_ref().map(|password| format!(":{password}@"));
        format!("redis://{}{}", credentials.unwrap_or_default(), self.server.addr())
    }

    /// Its process, for what is not wrapped here.
    pub fn server(&self) -> &RedisServerHandle {
        &self.server
    }

    /// Runs a command, such as `&["HGETALL", "bank:meta"]`.
    pub async fn run(&self, command: &[&str]) -> String {
        self.server.run(command).await.unwrap()
    }

    /// Kills it, and leaves its files as they are.
    pub fn kill(&mut self) {
        chaos::kill_node(&self.server).unwrap();
    }

    /// Starts it again on its port, with its files.
    pub async fn restart(&mut self) {
        chaos::restart_node(&mut self.server, Duration::from_secs(10)).await.unwrap();
    }

    /// Stops it from doing anything; its connections stay open.
    pub fn freeze(&self) {
        chaos::freeze_node(&self.server).unwrap();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        chaos::resume_node(&self.server).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A frozen one would not heed the order to end.
        let _ = chaos::resume_node(&self.server);
    }
}
