//! Certificates for the tests.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

/// An authority that signs the certificates of one test.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server's certificate that is an authority, and its own, as `openssl req -x509` makes it.
    pub(crate) fn own_server_certificate(name: &str) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Pair { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `localhost` with this serial number.
    pub(crate) fn server(&self, serial: u64) -> Pair {
        self.server_with_key(serial, KeyPair::generate().unwrap())
    }

    /// A certificate for a server of that name.
    pub(crate) fn server_called(&self, name: &str) -> Pair {
        self.server_of(&[name])
    }

    /// A certificate for a server that has all these names.
    pub(crate) fn server_of(&self, names: &[&str]) -> Pair {
        let san = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(san).unwrap();
        // OpenSSL takes a certificate with the authority's own subject for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, names[0]);
        self.sign(params, KeyPair::generate().unwrap())
    }

    pub(crate) fn server_with_key(&self, serial: u64, key: KeyPair) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.serial_number = Some(serial.into());
        self.sign(params, key)
    }

    pub(crate) fn client(&self) -> Pair {
        self.client_called("kube-apiserver", "")
    }

    /// A client certificate of a user as Kubernetes reads it: the common name, and the organization as its group.
    pub(crate) fn client_called(&self, user: &str, group: &str) -> Pair {
        let mut params = CertificateParams::new(vec![user.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, KeyPair::generate().unwrap())
    }

    fn sign(&self, params: CertificateParams, key: KeyPair) -> Pair {
        let cert = params.signed_by(&key, &self.0).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }
}

impl Pair {
    /// Writes `tls.crt` and `tls.key`.
    pub(crate) fn write(&self, dir: &Path) {
        fs::write(dir.join("tls.crt"), &self.cert).unwrap();
        fs::write(dir.join("tls.key"), &self.key).unwrap();
    }
}
