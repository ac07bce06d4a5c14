//! Messages and stubs of the gRPC package `bank.v1`, generated at build time from `proto/`.
//!
//! The features `client` and `server` choose which stubs are built; the messages always are.

/// The package `bank.v1`; its documentation is in the .proto files.
pub mod v1 {
    tonic::include_proto!("bank.v1");
}

/// The encoded `google.protobuf.FileDescriptorSet` of `bank.v1`, as gRPC reflection serves it.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("bank_descriptor");

#[cfg(test)]
mod tests {
    use prost::Message as _;

    #[test]
    fn the_descriptor_set_names_the_service_and_every_message() {
        let set = prost_types::FileDescriptorSet::decode(super::FILE_DESCRIPTOR_SET).unwrap();
        let service = set
            .file
            .iter()
            .filter(|file| file.package() == "bank.v1")
            .flat_map(|file| &file.service)
            .find(|service| service.name() == "BankService")
            .expect("BankService is described");
        assert_eq!(service.method.len(), 21);
    }
}
