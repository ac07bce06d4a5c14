//! A real nginx in front of a bank, with the sample of its configuration in `deploy/nginx`.

use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

const SAMPLE: &str = include_str!("../../../../deploy/nginx/bank.conf");

/// Runs until it is dropped.
pub struct Nginx {
    process: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Nginx {
    /// In front of a server, with the sample but for `(what, instead)`.
    pub fn start(bank_port: u16, changes: &[(&str, &str)]) -> Self {
        Self::before(&[bank_port], changes)
    }

    /// In front of several servers.
    pub fn before(bank_ports: &[u16], changes: &[(&str, &str)]) -> Self {
        // Below the ephemeral ports, so that no other process gets it before nginx is up.
        let address = SocketAddr::from(([127, 0, 0, 1], rand::random_range(10_000..32_000)));
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (listen, server) = (
            format!("listen {address} http2;"),
            bank_ports
                .iter()
                .fold(String::new(), |servers, port| format!("{servers}server 127.0.0.1:{port}; ")),
        );
        let own = [
            ("listen 443 ssl http2;", &*listen),
            ("server 127.0.0.1:50051;", &*server),
            ("    ssl_certificate     /etc/nginx/tls/bank.crt;\n", ""),
            ("    ssl_certificate_key /etc/nginx/tls/bank.key;\n", ""),
        ];
        let mut sample = SAMPLE.to_owned();
        for (what, instead) in own.iter().chain(changes) {
            assert!(sample.contains(what), "{what} is not in the sample");
            sample = sample.replace(what, instead);
        }
        let mut temporary = String::new();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(temporary, "{kind}_temp_path {};", path(kind)).unwrap();
        }
        let config = format!(
            "daemon off;\nworker_processes 1;\npid {};\nerror_log {} warn;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{sample}}}\n",
            path("pid"),
            path("errors"),
        );
        fs::write(directory.path().join("nginx.conf"), config).unwrap();
        let process = command()
            .args([
                "-p",
                directory.path().to_str().unwrap(),
                "-c",
                &path("nginx.conf"),
                "-e",
                &path("errors"),
            ])
            .stderr(Stdio::inherit())
            .spawn()
            .expect("nginx 1.22 or newer must be installed: scripts/setup installs it");
        let mut nginx = Self { process, address, _directory: directory };
        for _ in 0..3_000 {
            if TcpStream::connect(address).is_ok() {
                return nginx;
            }
            assert!(nginx.process.try_wait().unwrap().is_none(), "nginx ends");
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nginx does not start");
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// It is not on the path of everybody.
fn command() -> Command {
    let installed = Path::new("/usr/sbin/nginx");
    Command::new(if installed.exists() { installed } else { Path::new("nginx") })
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // At once, and its worker with it.
        let terminate = format!("kill -TERM {}", self.process.id());
        let _ = Command::new("sh").args(["-c", &terminate]).status();
        let _ = self.process.wait();
    }
}
