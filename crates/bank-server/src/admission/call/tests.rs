use bank_proto::v1::bank_service_server::SERVICE_NAME;

use super::*;
use crate::auth::Method;

#[test]
fn the_kind_of_a_call_follows_from_its_path() {
    for method in Method::ALL {
        let kind = match method {
            Method::ExecuteBatch => CallKind::Batch,
            Method::ExecuteStream => CallKind::Stream,
            _ => CallKind::Single,
        };
        assert_eq!(CallKind::of_path(&format!("/{SERVICE_NAME}/{}", method.name())), kind, "{method:?}");
    }
}
