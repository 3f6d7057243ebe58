<?php

declare(strict_types=1);

namespace Panel\Mail;

use function vpopmail_auth_user as authenticated;
use function vpopmail_del_user;
use Panel\{Session, Request};

#[Route('/users')]
final class Users implements \Countable
{
    private const DOMAIN = 'example.com';

    public function __construct(private readonly Session $session, private ?string $domain = self::DOMAIN) {}

    public function add(Request $request): bool|string
    {
        $result = \vpopmail_add_user(user: $request->user, domain: $this->domain, password: $request->password);
        return match ($result) {
            true => true,
            false => \vpopmail_error(),
        };
    }

    public static function signIn(string ...$credentials): ?self
    {
        return authenticated(...$credentials) ? new self(new Session()) : null;
    }

    public function delete(array $users): void
    {
        array_walk($users, fn (string $user) => vpopmail_del_user($user, $this->domain));
        $each = vpopmail_del_user(...);
        try {
            foreach ($users as ['name' => $name]) {
                namespace\vpopmail_del_user($name, $this?->domain) ?: throw new \RuntimeException(vpopmail_error());
            }
        } catch (\RuntimeException $e) {
            $this->session->flash(vpopmail_error());
        } finally {
            unset($each);
        }
    }

    public function count(): int { return \count(\vpopmail_alias_get_all($this->domain)); }
}

Other\vpopmail_add_user('not', 'ours', 'at all');
