# Verifies the DKIM signatures of messages by Perl's Mail::DKIM: perl dkim_verify.pl ZONE MESSAGE...
# ZONE stands for the DNS: a line for each record, name and text with a tab between.
# Prints a line for each message: algorithm=result of every signature, from the top.
use strict;
use warnings;
use Mail::DKIM::PublicKey;
use Mail::DKIM::Verifier;

my %records;
open(my $zone, '<', shift) or die $!;
while (my $line = <$zone>) {
    chomp $line;
    my ($name, $text) = split /\t/, $line;
    $records{$name} = $text;
}

no warnings 'redefine';
*Mail::DKIM::PublicKey::fetch_async = sub {
    my ($class, %wanted) = @_;
    my $text = $records{"$wanted{Selector}._domainkey.$wanted{Domain}"};
    my $key = $text ? $class->parse($text) : undef;
    return sub { $wanted{Callbacks}{Success}->($key) };
};

foreach my $path (@ARGV) {
    open(my $message, '<:raw', $path) or die $!;
    my $verifier = Mail::DKIM::Verifier->new;
    $verifier->PRINT(do { local $/; <$message> });
    $verifier->CLOSE;
    print join(' ', map { $_->algorithm . '=' . $_->result } $verifier->signatures), "\n";
}
