// Bouncy Castle as a correspondent of the tests: signs, verifies, encrypts, opens, compresses.
// Reads requests from standard input, one a line, words separated by tabs:
// ACT OUTPUT INPUT [further files and names]; answers each with "ok" or "no" and the reason.

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.interfaces.ECPublicKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Collection;
import java.util.List;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.CMSAlgorithm;
import org.bouncycastle.cms.CMSAuthEnvelopedData;
import org.bouncycastle.cms.CMSAuthEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSCompressedDataGenerator;
import org.bouncycastle.cms.CMSEnvelopedData;
import org.bouncycastle.cms.CMSEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.RecipientInfoGenerator;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.cms.jcajce.JceCMSContentEncryptorBuilder;
import org.bouncycastle.cms.jcajce.JceKeyAgreeEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JceKeyTransAuthEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.ZlibCompressor;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.OutputEncryptor;
import org.bouncycastle.operator.jcajce.JcaAlgorithmParametersConverter;

public class Peer {
    static byte[] read(String path) throws Exception {
        return Files.readAllBytes(Path.of(path));
    }

    static X509Certificate certificate(String path) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509", "BC")
                .generateCertificate(new ByteArrayInputStream(read(path)));
    }

    static PrivateKey key(String path, String kind) throws Exception {
        return KeyFactory.getInstance(kind, "BC").generatePrivate(new PKCS8EncodedKeySpec(read(path)));
    }

    static ASN1ObjectIdentifier cipher(String name) {
        switch (name) {
            case "AES128_CBC": return CMSAlgorithm.AES128_CBC;
            case "AES256_CBC": return CMSAlgorithm.AES256_CBC;
            case "AES128_GCM": return CMSAlgorithm.AES128_GCM;
            case "AES256_GCM": return CMSAlgorithm.AES256_GCM;
            case "AES256_CCM": return CMSAlgorithm.AES256_CCM;
            default: throw new IllegalArgumentException(name);
        }
    }

    public static void main(String[] none) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            try {
                answer(line.split("\t"));
                System.out.println("ok");
            } catch (Exception error) {
                System.out.println("no " + error.toString().replace('\n', ' '));
            }
            System.out.flush();
        }
    }

    static void answer(String[] arguments) throws Exception {
        byte[] input = read(arguments[2]);
        byte[] output;
        switch (arguments[0]) {
            case "verify": output = verify(input, arguments); break;
            case "sign": output = sign(input, arguments); break;
            case "encrypt": output = encrypt(input, arguments); break;
            case "decrypt": output = decrypt(input, arguments); break;
            case "compress":
                output = new CMSCompressedDataGenerator()
                        .generate(new CMSProcessableByteArray(input), new ZlibCompressor()).getEncoded();
                break;
            default: throw new IllegalArgumentException(arguments[0]);
        }
        Files.write(Path.of(arguments[1]), output);
    }

    // verify OUTPUT MESSAGE [CONTENT]
    static byte[] verify(byte[] input, String[] arguments) throws Exception {
        CMSSignedData data = arguments.length > 3
                ? new CMSSignedData(new CMSProcessableByteArray(read(arguments[3])), input)
                : new CMSSignedData(input);
        int count = 0;
        for (SignerInformation signer : data.getSignerInfos()) {
            @SuppressWarnings("unchecked")
            Collection<X509CertificateHolder> found = data.getCertificates().getMatches(signer.getSID());
            X509CertificateHolder holder = found.iterator().next();
            if (!signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(holder))) {
                throw new SecurityException("signature");
            }
            count++;
        }
        if (count == 0) {
            throw new SecurityException("no signer");
        }
        return (byte[]) data.getSignedContent().getContent();
    }

    // sign OUTPUT CONTENT CERTIFICATE KEY KIND ALGORITHM opaque|detached
    static byte[] sign(byte[] input, String[] arguments) throws Exception {
        X509Certificate certificate = certificate(arguments[3]);
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        generator.addSignerInfoGenerator(new JcaSimpleSignerInfoGeneratorBuilder().setProvider("BC")
                .build(arguments[6], key(arguments[4], arguments[5]), certificate));
        generator.addCertificates(new JcaCertStore(List.of(certificate)));
        return generator.generate(new CMSProcessableByteArray(input), arguments[7].equals("opaque"))
                .getEncoded();
    }

    // encrypt OUTPUT CONTENT CERTIFICATE CIPHER rsa|oaep|ecdh-sha256|ecdh-sha384
    static byte[] encrypt(byte[] input, String[] arguments) throws Exception {
        X509Certificate certificate = certificate(arguments[3]);
        RecipientInfoGenerator recipient;
        if (arguments[5].equals("rsa")) {
            recipient = new JceKeyTransRecipientInfoGenerator(certificate).setProvider("BC");
        } else if (arguments[5].equals("oaep")) {
            java.security.spec.AlgorithmParameterSpec parameters = new javax.crypto.spec.OAEPParameterSpec(
                    "SHA-256", "MGF1", java.security.spec.MGF1ParameterSpec.SHA256,
                    javax.crypto.spec.PSource.PSpecified.DEFAULT);
            recipient = new JceKeyTransRecipientInfoGenerator(certificate,
                    new JcaAlgorithmParametersConverter().getAlgorithmIdentifier(
                            org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers.id_RSAES_OAEP, parameters))
                    .setProvider("BC");
        } else {
            KeyPairGenerator pairs = KeyPairGenerator.getInstance("EC", "BC");
            pairs.initialize(((ECPublicKey) certificate.getPublicKey()).getParams());
            KeyPair ephemeral = pairs.generateKeyPair();
            ASN1ObjectIdentifier scheme = arguments[5].equals("ecdh-sha384")
                    ? CMSAlgorithm.ECDH_SHA384KDF : CMSAlgorithm.ECDH_SHA256KDF;
            recipient = new JceKeyAgreeRecipientInfoGenerator(scheme, ephemeral.getPrivate(),
                    ephemeral.getPublic(), CMSAlgorithm.AES256_WRAP)
                    .setUserKeyingMaterial(new byte[] {1, 2, 3})
                    .addRecipient(certificate).setProvider("BC");
        }
        OutputEncryptor encryptor =
                new JceCMSContentEncryptorBuilder(cipher(arguments[4])).setProvider("BC").build();
        CMSProcessableByteArray content = new CMSProcessableByteArray(input);
        if (encryptor instanceof OutputAEADEncryptor) {
            CMSAuthEnvelopedDataGenerator generator = new CMSAuthEnvelopedDataGenerator();
            generator.addRecipientInfoGenerator(recipient);
            return generator.generate(content, (OutputAEADEncryptor) encryptor).getEncoded();
        }
        CMSEnvelopedDataGenerator generator = new CMSEnvelopedDataGenerator();
        generator.addRecipientInfoGenerator(recipient);
        return generator.generate(content, encryptor).getEncoded();
    }

    // decrypt OUTPUT MESSAGE KEY KIND cbc|gcm
    static byte[] decrypt(byte[] input, String[] arguments) throws Exception {
        PrivateKey key = key(arguments[3], arguments[4]);
        if (arguments[5].equals("gcm")) {
            RecipientInformation recipient = new CMSAuthEnvelopedData(input).getRecipientInfos()
                    .getRecipients().iterator().next();
            return recipient.getContent(new JceKeyTransAuthEnvelopedRecipient(key).setProvider("BC"));
        }
        RecipientInformation recipient =
                new CMSEnvelopedData(input).getRecipientInfos().getRecipients().iterator().next();
        return arguments[4].equals("RSA")
                ? recipient.getContent(new JceKeyTransEnvelopedRecipient(key).setProvider("BC"))
                : recipient.getContent(new JceKeyAgreeEnvelopedRecipient(key).setProvider("BC"));
    }
}
