"""Linear algebra: cuSOLVER, cuBLAS and MAGMA, in a library of their own that can lack a GPU by itself.

All are backward stable: what comes out solves a problem whose numbers differ by c*n*u (Higham 2002). So the residual is
measured, in float64 on the CPU, and singular values and eigenvalues are compared (Weyl: off by no more than the residual).
"""

N = 96
U = 2.0**-24
BASIS = "32*n*u, n=96, u=2^-24"
TOLERANCE = 32 * N * U


def _matrices(torch):
    """One matrix and a batch of them: libraries have other kernels for many small ones."""
    return (("one", torch.randn(N, N)), ("batch", torch.randn(5, N, N)))


def _norm(matrix):
    return float(matrix.double().abs().sum(-1).max())


def _residual(kit, what, left, right, size):
    kit.bound(what, _norm(left - right) / size if bool((left == left).all()) else float("nan"), TOLERANCE, BASIS)


def solve(kit):
    """Systems of equations and inverses."""
    torch = kit.torch
    for name, matrix in _matrices(torch):
        matrix = matrix + N * torch.eye(N)
        right = torch.randn(*matrix.shape[:-1], 3)
        x = torch.linalg.solve(matrix.to(kit.device), right.to(kit.device)).cpu().double()
        size = _norm(matrix) * float(x.abs().max())
        _residual(kit, "%s: A x - b" % name, matrix.double() @ x, right.double(), size)
        inverse = torch.linalg.inv(matrix.to(kit.device)).cpu().double()
        _residual(
            kit, "%s: inverse" % name, matrix.double() @ inverse, torch.eye(N).double(), _norm(matrix) * _norm(inverse)
        )


def cholesky(kit):
    """Cholesky factors."""
    torch = kit.torch
    for name, matrix in _matrices(torch):
        matrix = matrix @ matrix.transpose(-1, -2) + N * torch.eye(N)
        factor = torch.linalg.cholesky(matrix.to(kit.device)).cpu().double()
        _residual(kit, "%s: L L^T - A" % name, factor @ factor.transpose(-1, -2), matrix.double(), _norm(matrix))
        kit.exact("%s: triangular" % name, factor.triu(1), torch.zeros_like(factor))


def qr(kit):
    """QR factors."""
    torch = kit.torch
    for name, matrix in _matrices(torch):
        q, r = (part.cpu().double() for part in torch.linalg.qr(matrix.to(kit.device)))
        _residual(kit, "%s: Q R - A" % name, q @ r, matrix.double(), _norm(matrix))
        _residual(kit, "%s: Q^T Q - 1" % name, q.transpose(-1, -2) @ q, torch.eye(N).double().expand_as(q), 1.0)


def eigh(kit):
    """Eigenvalues and eigenvectors of symmetric matrices."""
    torch = kit.torch
    for name, matrix in _matrices(torch):
        matrix = matrix + matrix.transpose(-1, -2)
        values, vectors = (part.cpu().double() for part in torch.linalg.eigh(matrix.to(kit.device)))
        size = _norm(matrix)
        kit.compare("%s: eigenvalues" % name, values, torch.linalg.eigvalsh(matrix.double()), TOLERANCE, BASIS, size)
        _residual(kit, "%s: A V - V D" % name, matrix.double() @ vectors, vectors * values.unsqueeze(-2), size)


def svd(kit):
    """Singular values and vectors."""
    torch = kit.torch
    for name, matrix in _matrices(torch):
        u, s, vh = (part.cpu().double() for part in torch.linalg.svd(matrix.to(kit.device), full_matrices=False))
        size = _norm(matrix)
        kit.compare("%s: singular values" % name, s, torch.linalg.svdvals(matrix.double()), TOLERANCE, BASIS, size)
        _residual(kit, "%s: U S V^T - A" % name, (u * s.unsqueeze(-2)) @ vh, matrix.double(), size)
